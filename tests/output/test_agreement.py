"""Whether backends agree: of runs that do, of one that does not, and where a backend is missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synthetic_run import synthetic_run, write_run

import cnnbench
from cnnbench.gates.agreement import LEVEL, agreements
from cnnbench.output.report import gather
from cnnbench.output.score_tables import IMAGES_ONLY, agreement_findings, agreement_table
from cnnbench.training.metrics.kept import kept
from cnnbench.training.metrics.keypoints import PCKStatistic
from cnnbench.training.metrics.paired import alike, compared
from cnnbench.training.metrics.score import Score

IMAGES = 60


def points(right: float, seed: int) -> PCKStatistic:
    return PCKStatistic(np.random.default_rng(seed).binomial(14, right, IMAGES), np.full(IMAGES, 14))


def scored(record, statistic):
    """The record, whose training found keypoints."""
    found = () if statistic is None else (Score(metric="pck", value=0.5, images=IMAGES, per_image=kept(statistic)),)
    epochs = tuple(epoch.model_copy(update={"metrics": found}) for epoch in record.training.epochs)
    facts = {"test_accuracy": None, "predictions": (), "targets": (), "epochs": epochs}
    return record.model_copy(update={"training": record.training.model_copy(update=facts)})


def run(*statistics):
    made, left = synthetic_run(), list(statistics)
    records = [
        scored(record, left.pop(0)) if record.training is not None and left else record for record in made.records
    ]
    return replace(made, records=tuple(records))


ALIKE = [points(0.9, seed) for seed in range(4)]


def test_backends_that_are_alike_agree_and_the_report_says_by_which_test() -> None:
    found = run(*ALIKE)
    (row,) = agreements(found.records)
    assert (row.verdict, len(row.backends), row.missing) == ("agree", 4, ())
    assert row.difference.low < 0 < row.difference.high
    assert row.difference.value == pytest.approx(max(row.figures) - min(row.figures))
    table = agreement_table([row])
    assert table in gather(found).tables
    assert [entry.text for entry in table.rows[0]][7:] == ["paired permutation test", "agree", ""]
    assert "the 4 backends agree in pck (paired permutation test, p = " in "; ".join(gather(found).findings)


def test_one_that_is_worse_differs() -> None:
    (row,) = agreements(run(*ALIKE[:3], points(0.75, 3)).records)
    assert row.verdict == "differ"
    assert row.p_value <= LEVEL
    assert row.difference.low > 0
    assert row.low == 3
    assert agreement_table([row]).rows[0][-1].text == IMAGES_ONLY
    assert f"differ in pck (paired permutation test, p = {row.p_value:.2g})" in next(agreement_findings([row]))
    assert next(agreement_findings([row])).endswith(f"apart ({IMAGES_ONLY})")


def test_one_without_a_figure_leaves_it_undecided() -> None:
    found = run(*ALIKE[:3], None)
    (row,) = agreements(found.records)
    assert row.verdict == "undecided"
    assert len(row.missing) == 1
    assert "is undecided: no figure of " in next(agreement_findings([row]))
    (other,) = agreements(run(*ALIKE[:3], PCKStatistic(np.ones(IMAGES), np.ones(IMAGES))).records)
    assert (other.verdict, other.reason[:34]) == ("undecided", "the truth of the images differs: t")


def test_classifiers_are_compared_by_their_predictions() -> None:
    (row,) = agreements(synthetic_run().records)
    assert (row.metric, len(row.backends)) == ("accuracy", 4)


def test_two_runs_have_the_p_value_of_their_exchange() -> None:
    pair = points(0.9, 1), points(0.85, 2)
    assert alike(pair, exchanges=1999) == pytest.approx(compared(*pair, exchanges=1999).p_value, abs=0.03)


def test_backends_that_are_alike_are_told_apart_as_often_as_chance_may() -> None:
    """Of 200 sets of three runs, more than 7 have a p of 0.01 or less with a chance below 0.001."""
    found = [alike([points(0.95, 3 * seed + k) for k in range(3)], seed, 99) for seed in range(200)]
    assert sum(p <= 0.01 for p in found) <= 7
    assert 0.3 < np.mean(found) < 0.7


def test_the_frame_has_a_row_for_each_metric(tmp_path) -> None:
    frame = cnnbench.agreements(write_run(run(*ALIKE), tmp_path))
    row = frame.iloc[0]
    assert (row["metric"], row["backends"], row["images"], row["verdict"]) == ("pck", 4, IMAGES, "agree")
    assert row["difference"] == pytest.approx(row["highest_value"] - row["lowest_value"])
