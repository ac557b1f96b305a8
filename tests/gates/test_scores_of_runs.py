"""What the gate says of metrics of test images: paired over images, with a margin, and only beyond chance."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_run import synthetic_run

from cnnbench.errors import SuiteError
from cnnbench.gates.baselines import Snapshot, baseline_path, load_baseline, save_baseline, snapshot
from cnnbench.gates.rules import Rules
from cnnbench.gates.verdicts import gate
from cnnbench.harness.suite.file import load_suite
from cnnbench.harness.suite.gates import Gates, MetricsGate
from cnnbench.output.junit import gate_cases
from cnnbench.output.verdict_tables import verdict_table
from cnnbench.training.metrics.kept import kept
from cnnbench.training.metrics.keypoints import PCKStatistic
from cnnbench.training.metrics.score import Score
from cnnbench.training.metrics.statistic import MeanStatistic, measured

EVERY = np.arange(100)
CELL = "resnet20-torch-eager-b64"


def points(right: float, seed: int = 0) -> PCKStatistic:
    """100 images of 14 points; the same images for every seed, other luck."""
    hard = np.random.default_rng(99).uniform(-0.02, 0.02, 100)
    return PCKStatistic(np.random.default_rng(seed).binomial(14, right + hard), np.full(100, 14))


def score(statistic, name: str = "pck", **facts) -> Score:
    found = measured(statistic, resamples=100)
    facts = {"value": found.value, "low": found.low, "high": found.high, "per_image": kept(statistic)} | facts
    return Score(metric=name, images=len(statistic), **facts)


@pytest.fixture(scope="module")
def base() -> Snapshot:
    return snapshot(synthetic_run())


def trained(run: Snapshot, *scores: Score) -> Snapshot:
    """The run, one of whose training cells is no classifier's."""
    facts = {"scores": scores, "predictions": (), "targets": (), "test_accuracy": None}
    cells = tuple(cell.model_copy(update=facts) if cell.cell.id == CELL else cell for cell in run.cells)
    return run.model_copy(update={"cells": cells})


def judged(base: Snapshot, before, after, gates: Gates | None = None):
    found = gate(trained(base, *after), trained(base, *before), Rules(gates=gates or Gates()))
    return {verdict.metric: verdict for verdict in found.verdicts if verdict.subject == CELL}, found.exit_code


def test_the_same_run_again_is_unchanged_and_asks_no_accuracy(base: Snapshot) -> None:
    found, code = judged(base, [score(points(0.9))], [score(points(0.9))])
    assert code == 0
    assert found.keys() == {"pck"}
    assert found["pck"].verdict == "unchanged"
    assert found["pck"].reason == "paired permutation test, p = 1"


def test_a_worse_run_is_a_regression_and_a_better_one_an_improvement(base: Snapshot) -> None:
    good, bad = score(points(0.95)), score(points(0.85, 1))
    found, code = judged(base, [good], [bad])
    assert (code, found["pck"].verdict) == (1, "regressed")
    assert found["pck"].change.value == pytest.approx(bad.value - good.value)
    assert found["pck"].change.high < -0.01
    assert found["pck"].change.confidence == 0.98
    assert (found["pck"].baseline, found["pck"].head) == (good.value, bad.value)
    turned, _ = judged(base, [bad], [good])
    assert turned["pck"].verdict == "improved"


def test_errors_get_worse_by_growing(base: Snapshot) -> None:
    errors = np.random.default_rng(0).uniform(0.1, 0.2, 100)
    small, large = (
        score(MeanStatistic(scale * errors), "reconstruction_error", higher_is_better=False, margin=0.01)
        for scale in (1, 1.5)
    )
    assert judged(base, [small], [large])[0]["reconstruction_error"].verdict == "regressed"
    found = judged(base, [large], [small])[0]["reconstruction_error"]
    assert found.verdict == "improved"
    assert found.change.value < 0


def test_a_suite_may_tolerate_more(base: Snapshot) -> None:
    scores = [score(points(0.95))], [score(points(0.85, 1))]
    wide = Gates(metrics=MetricsGate(margins={"pck": 0.3}))
    found, _ = judged(base, *scores, wide)
    assert (found["pck"].verdict, found["pck"].threshold) == ("unchanged", 0.3)
    assert judged(base, *scores, Gates(metrics=MetricsGate(margin=0.3, margins={"ap": 0})))[0]["pck"].threshold == 0.3
    assert not judged(base, *scores, Gates(metrics=None))[0]


def test_a_few_images_are_no_proof(base: Snapshot) -> None:
    """Six of twenty images got lost: the sign test has p = 2^-6 on one side, which is no 0.01."""
    all_right = MeanStatistic(np.ones(20))
    fewer = MeanStatistic((np.arange(20) >= 6).astype(float))
    found, code = judged(base, [score(all_right, "exact_captions")], [score(fewer, "exact_captions")])
    assert (code, found["exact_captions"].verdict) == (5, "inconclusive")
    assert found["exact_captions"].reason.startswith("6 of 20 images differ: the exact sign test cannot tell the drop")
    worse = MeanStatistic((np.arange(20) >= 10).astype(float))
    assert judged(base, [score(all_right, "x")], [score(worse, "x")])[0]["x"].verdict == "regressed"


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        pytest.param([score(points(0.9))], [], "this run has no such figure", id="lost"),
        pytest.param([], [score(points(0.9))], "the baseline has no such figure", id="new"),
        pytest.param(
            [score(points(0.9))], [score(points(0.9), value=None)], "it is not defined in this run", id="undefined"
        ),
        pytest.param(
            [score(points(0.9))], [score(MeanStatistic(np.ones(99)))], "the test sets differ in size: 100 and 99",
            id="size",
        ),
        pytest.param(
            [score(points(0.9))],
            [score(PCKStatistic(np.zeros(100), np.full(100, 13)))],
            "the truth of the images differs: they are other images, or in another order",
            id="truth",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_never_passes(base: Snapshot, before, after, reason: str) -> None:
    found, code = judged(base, before, after)
    assert (code, found["pck"].verdict, found["pck"].reason) == (5, "not comparable", reason)


def test_without_each_image_s_part_both_intervals_count(base: Snapshot) -> None:
    """A plugin's own statistic is not kept."""
    good, bad = (score(points(right), per_image=None) for right in (0.97, 0.8))
    found, _ = judged(base, [good], [bad])
    assert found["pck"].verdict == "regressed"
    assert found["pck"].reason.startswith("from the intervals of both runs")
    paired = judged(base, [score(points(0.97))], [score(points(0.8))])[0]["pck"]
    assert found["pck"].noise != paired.noise


def test_a_baseline_holds_what_each_image_contributed(base: Snapshot, tmp_path) -> None:
    kept_scores = score(points(0.9))
    path = save_baseline(trained(base, kept_scores), baseline_path(base.suite, tmp_path))
    cell = next(cell for cell in load_baseline(path).cells if cell.cell.id == CELL)
    assert cell.scores == (kept_scores,)


def test_verdicts_are_shown_in_the_metric_s_unit(base: Snapshot) -> None:
    before, after = (
        score(MeanStatistic(np.random.default_rng(0).normal(mean, 1, 100)), "psnr", unit="dB", margin=0.2)
        for mean in (28, 25)
    )
    found = gate(trained(base, after), trained(base, before))
    row = next(row for row in verdict_table(found).rows if row[1].text == "psnr")
    assert row[2].text == "regressed"
    assert [entry.text for entry in row[4:6]] == [f"{before.value:.1f} dB", f"{after.value:.1f} dB"]
    assert row[6].text.startswith("-3 dB [")
    assert row[7].text == "±0.200 dB"
    assert any(case.name == "psnr" and case.outcome == "failure" for case in gate_cases(found))


SUITE = """
schema_version: 1
name: small
matrix: {architectures: [lenet5], backends: [numpy]}
gates: {metrics: {margins: {mean_iuo: 0.02}}}
"""


def test_a_margin_of_an_unknown_metric_is_refused(tmp_path) -> None:
    (tmp_path / "small.yaml").write_text(SUITE)
    with pytest.raises(SuiteError, match=r"unknown metric 'mean_iuo'") as caught:
        load_suite(tmp_path / "small.yaml")
    assert "mean_iou" in str(caught.value)
    assert "small.yaml:5:39" in str(caught.value)
