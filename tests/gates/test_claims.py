"""How a bundled run's claims are graded, on runs that differ in one known respect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic_run import Noise, Truth, digest, synthetic_run

from cnnbench.gates.claims import Verification, graded
from cnnbench.gates.evidence import Evidence
from cnnbench.harness.passes.findings import Digests, Memory
from cnnbench.harness.run.record import Record
from cnnbench.measurement.student import degrees_of_sum
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.training_envelope import SURE_STEPS, CurveAgreement
from cnnbench.training.metrics.kept import kept
from cnnbench.training.metrics.score import Score
from cnnbench.training.metrics.statistic import MeanStatistic, measured

QUIET = Noise(run=0.01, group=0.005, round=0.01, launch=0.005, call=0.01, spikes=0.0, yardstick=0.005)
TORCH, NUMPY = "resnet50-torch-eager-b8", "resnet50-numpy-fast-b8"


def with_outputs(run: Evidence) -> Evidence:
    return altered(run, lambda record: bool(record.latency), outputs=digest("outputs"))


def altered(run: Evidence, choose: Callable[[Record], bool], **update: object) -> Evidence:
    records = tuple(record.model_copy(update=update) if choose(record) else record for record in run.records)
    return replace(run, records=records)


def of(name: str) -> Callable[[Record], bool]:
    return lambda record: record.cell.id == name


@pytest.fixture(scope="module")
def bundled() -> Evidence:
    return with_outputs(synthetic_run(Truth(seed=1, noise=QUIET, launches=3, rounds=8)))


def grades(bundled: Evidence, again: Evidence, subject: str) -> dict[str, str]:
    return {claim.claim: claim.grade for claim in graded(bundled, again) if claim.subject == subject}


def ends(bundled: Evidence, again: Evidence) -> int:
    claims = graded(bundled, again)
    return Verification(suite="s", bundle="", bundled_run="a", run="b", differences=(), claims=claims).exit_code


def test_a_run_is_reproduced_by_itself_to_the_last_bit(bundled: Evidence) -> None:
    claims = graded(bundled, bundled)
    assert {claim.grade for claim in claims if claim.claim not in ("latency", "memory")} == {"bitwise"}
    assert {claim.grade for claim in claims if claim.claim in ("latency", "memory")} == {"ratio reproduced"}
    assert ends(bundled, bundled) == 0


def test_the_fastest_of_a_group_claims_no_ratio_and_every_other_does(bundled: Evidence) -> None:
    ratios = [claim.subject for claim in graded(bundled, bundled) if claim.claim == "latency"]
    assert len(ratios) == len(set(ratios)) == 4 * 3
    assert not any("torch" in name for name in ratios)


def test_seconds_do_not_count_where_the_ratio_holds(bundled: Evidence) -> None:
    twice = dict.fromkeys(("numpy", "torch", "jax", "tensorflow"), 2.0)
    again = with_outputs(synthetic_run(Truth(seed=2, noise=QUIET, launches=3, rounds=8, slowdown=twice)))
    assert grades(bundled, again, NUMPY)["latency"] == "ratio reproduced"


def test_a_ratio_that_does_not_hold_is_not_reproduced_unless_the_threads_explain_it(bundled: Evidence) -> None:
    again = with_outputs(synthetic_run(Truth(seed=2, noise=QUIET, launches=3, rounds=8, slowdown={"numpy": 1.5})))
    assert grades(bundled, again, NUMPY)["latency"] == "not reproduced"
    assert ends(bundled, again) == 1
    threads = {record.cell.id: record.cell.model_copy(update={"threads": 3}) for record in again.records}
    moved = replace(
        again, records=tuple(record.model_copy(update={"cell": threads[record.cell.id]}) for record in again.records)
    )
    assert grades(bundled, moved, NUMPY)["latency"] == "not comparable"


def test_other_bits_are_within_budget_where_a_check_says_so(bundled: Evidence) -> None:
    again = altered(bundled, of(TORCH), outputs=digest("other"))
    assert grades(bundled, again, TORCH)["outputs"] == "within budget"
    assert ends(bundled, again) == 0
    failing = CheckOutcome(name="local", status="failed", budget_used=7.0, node="conv1", message="too far")
    wrong = altered(bundled, of(TORCH), outputs=digest("other"), checks=(failing,), status="mismatch")
    found = grades(bundled, wrong, TORCH)
    assert (found["outputs"], found["local"]) == ("not reproduced", "not reproduced")
    assert ends(bundled, wrong) == 4


def test_other_bits_without_a_check_cannot_be_judged(bundled: Evidence) -> None:
    bare = altered(bundled, lambda _: True, checks=())
    again = altered(bare, of(TORCH), outputs=digest("other"))
    assert grades(bare, again, TORCH)["outputs"] == "not comparable"
    assert ends(bare, again) == 5


def test_a_check_with_another_figure_is_within_budget(bundled: Evidence) -> None:
    checks = tuple(
        check.model_copy(update={"budget_used": 0.123}) if check.name == "local" else check
        for check in next(filter(of(TORCH), bundled.records)).checks
    )
    found = grades(bundled, altered(bundled, of(TORCH), checks=checks), TORCH)
    assert (found["local"], found["end_to_end"], found["determinism"]) == ("within budget", "bitwise", "bitwise")


def test_a_node_that_uses_its_budget_otherwise_is_seen_in_its_own_check_only(bundled: Evidence) -> None:
    nodes = list(bundled.budgets[TORCH])
    index = next(i for i, node in enumerate(nodes) if not node.quantity.is_gradient)
    nodes[index] = nodes[index].model_copy(update={"got": 0.25})
    found = grades(bundled, replace(bundled, budgets={**bundled.budgets, TORCH: tuple(nodes)}), TORCH)
    assert (found["local"], found["gradient"]) == ("within budget", "bitwise")


@pytest.mark.parametrize("name", ["graph", "weights", "inputs"])
def test_another_digest_makes_a_cell_not_comparable_and_says_which(bundled: Evidence, name: str) -> None:
    record = next(filter(of(TORCH), bundled.records))
    digests = Digests(**{**dict(record.digests or {}), name: digest("other")})
    claims = [c for c in graded(bundled, altered(bundled, of(TORCH), digests=digests)) if c.subject == TORCH]
    assert {claim.grade for claim in claims} == {"not comparable"}
    assert all(f"the digest of the {name} differs" in claim.reason for claim in claims)


@pytest.mark.parametrize(
    ("status", "grade", "code"), [("crashed", "not reproduced", 3), ("skipped", "not comparable", 5)]
)
def test_a_cell_that_ends_otherwise_here(bundled: Evidence, status: str, grade: str, code: int) -> None:
    again = altered(bundled, of(NUMPY), status=status, reason="as told", latency=None, memory=None, outputs=None)
    again = replace(again, samples={name: kept for name, kept in again.samples.items() if name != NUMPY})
    claims = [claim for claim in graded(bundled, again) if claim.subject == NUMPY and claim.claim != "latency"]
    assert {claim.grade for claim in claims} == {grade}
    assert all("as told" in claim.reason for claim in claims)
    assert grades(bundled, again, NUMPY)["latency"] == "not comparable"
    assert ends(bundled, again) == code


def test_a_bundled_cell_that_ended_badly_claims_nothing(bundled: Evidence) -> None:
    kept = altered(bundled, of(TORCH), status="crashed")
    assert grades(kept, bundled, TORCH) == {"record": "not comparable"}


def test_the_base_side_of_an_ab_run_is_not_comparable(bundled: Evidence) -> None:
    base = synthetic_run(Truth(seed=1, noise=QUIET, side="base"))
    claims = graded(base, replace(base, records=(), samples={}))
    assert {claim.grade for claim in claims} == {"not comparable"}
    assert {claim.reason for claim in claims} == {
        "the base side's environment is not in the bundle: name its interpreter with --base"
    }


def both_sides(head_slowdown: float = 1.0, seed: int = 1) -> Evidence:
    truth = Truth(seed=seed, noise=QUIET, launches=3, rounds=8)
    head = synthetic_run(replace(truth, slowdown={"numpy": head_slowdown}))
    base = synthetic_run(replace(truth, side="base"))
    return replace(
        head,
        records=(*base.records, *head.records),
        samples={**base.samples, **head.samples},
        budgets={**base.budgets, **head.budgets},
    )


def test_the_ratio_of_both_sides_of_an_ab_run_is_a_claim() -> None:
    ran = both_sides()
    assert grades(ran, ran, NUMPY)["head / base"] == "ratio reproduced"
    found = [claim for claim in graded(ran, ran) if claim.subject.endswith("-base")]
    assert {claim.grade for claim in found} <= {"bitwise", "ratio reproduced", "not comparable"}
    assert {claim.claim for claim in found if claim.grade == "bitwise"} >= {"local", "end_to_end"}
    slower = both_sides(1.3)
    claim = next(item for item in graded(ran, slower) if item.subject == NUMPY and item.claim == "head / base")
    assert claim.grade == "not reproduced"
    assert claim.reason == "against the base side"
    assert ends(ran, slower) == 1
    alone = replace(ran, records=tuple(record for record in ran.records if record.cell.side == "head"))
    lost = next(item for item in graded(ran, alone) if item.subject == NUMPY and item.claim == "head / base")
    assert (lost.grade, lost.reason) == ("not comparable", "against the base side: not both ended well here")


def test_memory_is_judged_by_the_suites_tolerance(bundled: Evidence) -> None:
    before = next(filter(of(NUMPY), bundled.records)).memory
    assert before is not None
    more = Memory(**{**dict(before), "peak_bytes": before.peak_bytes * 2})
    assert grades(bundled, altered(bundled, of(NUMPY), memory=more), NUMPY)["memory"] == "not reproduced"


def test_a_training_run_is_bitwise_or_within_the_bundled_envelope_or_neither(bundled: Evidence) -> None:
    name = next(record.cell.id for record in bundled.records if record.training and record.cell.backend == "jax")
    kept = next(filter(of(name), bundled.records)).training
    assert kept is not None
    envelope = CurveAgreement(
        steps_compared=len(kept.losses),
        steps=len(kept.losses),
        used=0.1,
        worst_step=1,
        parts_at=None,
        agrees=True,
        middle=kept.losses,
        spread=tuple(1e-4 * loss for loss in kept.losses),
        reference_accuracies=(kept.test_accuracy,),
    )
    before = altered(bundled, of(name), training=kept.model_copy(update={"envelope": envelope}))

    def again(factor: float) -> Evidence:
        losses = tuple(loss * factor for loss in kept.losses)
        return altered(before, of(name), training=kept.model_copy(update={"losses": losses}))

    found = [grades(before, again(factor), name)["training curve"] for factor in (1.0, 1.0005, 1.01)]
    assert found == ["bitwise", "within budget", "not reproduced"]
    late = tuple(loss * (1.0 if step < len(kept.losses) - 1 else 1.01) for step, loss in enumerate(kept.losses))
    parted = altered(before, of(name), training=kept.model_copy(update={"losses": late}))
    expected = "not comparable" if len(late) > SURE_STEPS else "not reproduced"
    assert grades(before, parted, name)["training curve"] == expected


def test_without_an_envelope_the_accuracy_decides(bundled: Evidence) -> None:
    name = next(record.cell.id for record in bundled.records if record.training and record.cell.backend == "jax")
    same = synthetic_run(Truth(seed=3, noise=QUIET))
    worse = synthetic_run(Truth(seed=3, noise=QUIET, accuracy={"jax": 0.7}))
    assert grades(bundled, same, name)["training curve"] == "within budget"
    assert grades(bundled, worse, name)["training curve"] == "not reproduced"


def test_three_scattered_rounds_of_one_launch_decide_nothing() -> None:
    """Measured on a busy machine: the degrees of freedom are the rounds', not those of what is assumed of launches."""
    assert degrees_of_sum((0.89, 2.0), (0.0008, 4.0)) == pytest.approx(2.0, rel=0.01)
    assert degrees_of_sum((0.0, 2.0), (0.0008, 4.0)) == pytest.approx(4.0)
    assert degrees_of_sum((1.0, 2.0), (1.0, 2.0)) == pytest.approx(4.0)


def test_memory_on_a_device_is_not_compared_with_memory_of_a_process(bundled: Evidence) -> None:
    memory = Memory(peak_bytes=10**8, total_peak_bytes=2 * 10**8, null_bytes=10**8, device_peak_bytes=10**8)
    on_device = altered(bundled, of(TORCH), memory=memory)
    again = altered(bundled, of(TORCH), memory=memory.model_copy(update={"device_peak_bytes": None}))
    assert grades(on_device, on_device, TORCH)["memory"] == "ratio reproduced"
    assert grades(on_device, again, TORCH)["memory"] == "not comparable"


def test_numbers_that_are_wrong_here_do_not_reproduce_outputs(bundled: Evidence) -> None:
    again = altered(bundled, of(TORCH), status="nan", outputs=None)
    assert grades(bundled, again, TORCH)["outputs"] == "not reproduced"
    assert ends(bundled, again) == 4


def kept_score(right: NDArray[np.float64]) -> Score:
    """A metric of 100 images with what each contributed."""
    found = measured(MeanStatistic(right), resamples=100)
    interval = {"low": found.low, "high": found.high}
    return Score(metric="pck", value=found.value, images=100, per_image=kept(MeanStatistic(right)), **interval)


def with_metrics(run: Evidence, name: str, *scores: Score, **more: object) -> Evidence:
    """The run, in which this cell trained no classifier."""
    before = next(filter(of(name), run.records)).training
    assert before is not None
    last = before.epochs[-1].model_copy(update={"metrics": scores, "test_accuracy": None})
    epochs = (*before.epochs[:-1], last)
    facts = {"predictions": (), "targets": (), "epochs": epochs, **more}
    return altered(run, of(name), training=before.model_copy(update=facts))


def test_every_metric_of_test_images_is_a_claim_of_its_own(bundled: Evidence) -> None:
    name = next(record.cell.id for record in bundled.records if record.training and record.cell.backend == "jax")
    draw = np.random.default_rng(0)
    right = draw.uniform(0.8, 1.0, 100)
    before = with_metrics(bundled, name, kept_score(right))
    other = {"losses": (1.0, 0.5)}
    near = with_metrics(bundled, name, kept_score(right + draw.normal(0, 0.002, 100)), **other)
    worse = with_metrics(bundled, name, kept_score(right - 0.1), **other)
    gone = with_metrics(bundled, name, **other)
    found = [grades(before, again, name) for again in (before, near, worse, gone)]
    assert [item["pck"] for item in found] == ["bitwise", "within budget", "not reproduced", "not comparable"]
    assert not any("training curve" in item for item in found)
    claim = next(item for item in graded(before, worse) if item.claim == "pck")
    assert claim.bundled.startswith("pck 0.9")
    assert "paired permutation test" in claim.reason
    assert ends(before, worse) == 4
    assert ends(before, near) == 0


def test_a_cell_that_is_gone_loses_the_claims_of_its_metrics_too(bundled: Evidence) -> None:
    name = next(record.cell.id for record in bundled.records if record.training and record.cell.backend == "jax")
    before = with_metrics(bundled, name, kept_score(np.ones(100)))
    again = replace(before, records=tuple(record for record in before.records if record.cell.id != name))
    assert grades(before, again, name)["pck"] == "not comparable"
