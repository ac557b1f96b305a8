"""What the gate says of runs that differ in one known respect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from synthetic_run import Noise, Truth, digest, synthetic_run

from cnnbench.gates.baselines import CellSnapshot, RoundMedian, Snapshot, snapshot
from cnnbench.gates.rules import Rules
from cnnbench.gates.verdicts import GateResult, gate, gate_sides
from cnnbench.harness.passes.findings import Digests
from cnnbench.harness.suite.gates import Gates
from cnnbench.numerics.outcome import CheckOutcome

QUIET = Noise(run=0.01, group=0.005, round=0.01, launch=0.005, call=0.01, spikes=0.0, yardstick=0.005)


@pytest.fixture(scope="module")
def base() -> Snapshot:
    return snapshot(synthetic_run(Truth(seed=1, noise=QUIET)))


def changed(run: Snapshot, choose: Callable[[CellSnapshot], bool], **update: object) -> Snapshot:
    cells = tuple(cell.model_copy(update=update) if choose(cell) else cell for cell in run.cells)
    return run.model_copy(update={"cells": cells})


def of(backend: str, architecture: str = "resnet50", batch: int = 8) -> Callable[[CellSnapshot], bool]:
    wanted = (backend, architecture, batch)
    return lambda cell: (cell.cell.backend, cell.cell.architecture, cell.cell.batch) == wanted


def verdicts(result: GateResult, subject: str = "resnet50-torch-eager-b8") -> dict[str, str]:
    return {verdict.metric: verdict.verdict for verdict in result.verdicts if verdict.subject == subject}


def test_a_run_against_itself_is_unchanged_in_every_metric(base: Snapshot) -> None:
    result = gate(base, base)

    assert result.exit_code == 0
    assert set(result.counts) == {"unchanged"}
    assert {verdict.metric for verdict in result.verdicts} == {"latency", "memory", "numerics", "accuracy"}
    assert all(verdict.change.value == pytest.approx(1) for verdict in result.verdicts if verdict.metric == "latency")


def test_another_machine_leaves_numerics_and_accuracy_only(base: Snapshot) -> None:
    result = gate(base.model_copy(update={"fingerprint": "another"}), base)

    assert verdicts(result) == {"latency": "not comparable", "memory": "not comparable", "numerics": "unchanged"}
    assert verdicts(result, "resnet20-torch-eager-b64") == {"accuracy": "unchanged"}
    assert result.exit_code == 5
    assert "the machine differs" in result.notes[0]


@pytest.mark.parametrize("part", ["graph", "weights", "inputs"])
def test_another_digest_is_not_comparable_and_named(base: Snapshot, part: str) -> None:
    digests = Digests(graph=digest("resnet50"), weights=digest("w"), inputs=digest("i", 8))
    head = changed(base, of("torch"), digests=digests.model_copy(update={part: "other"}))
    result = gate(head, base)

    found = [verdict for verdict in result.verdicts if verdict.subject == "resnet50-torch-eager-b8"]
    assert {verdict.verdict for verdict in found} == {"not comparable"}
    assert all(f"the digest of the {part} differs" in verdict.reason for verdict in found)
    assert verdicts(result, "resnet50-jax-jit-b8")["numerics"] == "unchanged"
    assert result.exit_code == 5


def test_a_new_cell_and_a_crashed_cell_are_not_comparable_and_a_missing_one_is_noted(base: Snapshot) -> None:
    crashed = {"status": "crashed", "reason": "signal 9", "digests": None, "rounds": ()}
    head = changed(base, of("torch"), **crashed)
    without = base.model_copy(update={"cells": tuple(cell for cell in base.cells if not of("jax")(cell))})

    found = [verdict for verdict in gate(head, base).verdicts if verdict.subject == "resnet50-torch-eager-b8"]
    assert {verdict.reason for verdict in found} == {"nothing was measured: crashed, signal 9"}
    assert verdicts(gate(base, without), "resnet50-jax-jit-b8")["latency"] == "not comparable"
    assert any("resnet50-jax-jit-b8" in note for note in gate(without, base).notes)
    assert gate(without, base).exit_code == 5
    assert gate(without.model_copy(update={"selected": True}), base).exit_code == 0


@pytest.mark.parametrize("metric", ["latency", "memory", "accuracy"])
def test_a_figure_that_only_the_baseline_has_is_not_comparable(base: Snapshot, metric: str) -> None:
    dropped = {"latency": ("rounds", ()), "memory": ("peak_bytes", None), "accuracy": ("predictions", ())}[metric]
    cells = tuple(
        cell.model_copy(
            update={
                "cell": cell.cell.model_copy(
                    update={"measure": tuple(m for m in cell.cell.measure if m != metric),
                            "train": cell.cell.train and metric != "accuracy"}
                ),
                dropped[0]: dropped[1],
            }
        )
        for cell in base.cells
    )  # fmt: skip
    found = gate(base.model_copy(update={"cells": cells}), base)

    assert {v.verdict for v in found.verdicts if v.metric == metric} == {"not comparable"}
    assert {v.reason for v in found.verdicts if v.metric == metric} == {
        f"the cell was not {({'latency': 'timed', 'memory': 'measured for memory', 'accuracy': 'trained'})[metric]} "
        "this time: that was not asked for"
    }
    assert found.exit_code == 5


def test_a_training_run_of_another_batch_of_the_program_counts(base: Snapshot) -> None:
    trained = next(cell for cell in base.cells if cell.predictions)
    small, large = (
        trained.model_copy(
            update={
                "cell": trained.cell.model_copy(update={"batch": n, "key": f"k{n}", "id": f"c{n}", "train": n == 1})
            }
        )
        for n in (1, 8)
    )
    untrained = {"predictions": (), "targets": (), "test_accuracy": None}
    before = base.model_copy(update={"cells": (small, large.model_copy(update=untrained))})
    after = base.model_copy(
        update={
            "cells": (large.model_copy(update={"cell": large.cell.model_copy(update={"train": True})}),),
            "selected": True,
        }
    )

    assert verdicts(gate(after, before), "c8")["accuracy"] == "unchanged"


def test_more_memory_is_a_regression_beyond_threshold_and_minimum(base: Snapshot) -> None:
    peak = next(cell.peak_bytes for cell in base.cells if of("torch")(cell))
    assert peak

    assert verdicts(gate(changed(base, of("torch"), peak_bytes=int(peak * 1.3)), base))["memory"] == "regressed"
    assert verdicts(gate(changed(base, of("torch"), peak_bytes=int(peak * 1.05)), base))["memory"] == "unchanged"
    assert verdicts(gate(changed(base, of("torch"), peak_bytes=int(peak * 0.7)), base))["memory"] == "improved"

    tiny_base = changed(base, of("torch"), peak_bytes=3 * 2**20)
    assert verdicts(gate(changed(base, of("torch"), peak_bytes=6 * 2**20), tiny_base))["memory"] == "unchanged"


def test_a_check_that_fails_now_is_a_regression_and_names_its_node(base: Snapshot) -> None:
    cell = next(cell for cell in base.cells if of("torch")(cell))
    broken = cell.checks[0].model_copy(
        update={"status": "failed", "budget_used": 40.0, "node": "layer1.0.bn1", "message": "epsilon"}
    )
    head = changed(base, of("torch"), checks=(broken, *cell.checks[1:]), status="mismatch")
    result = gate(head, base)

    found = next(v for v in result.verdicts if v.metric == "numerics" and v.verdict == "regressed")
    assert "layer1.0.bn1" in found.reason
    assert "epsilon" in found.reason
    assert result.exit_code == 1
    assert verdicts(gate(base, head))["numerics"] == "improved"
    assert verdicts(gate(head, head))["numerics"] == "unchanged"


def test_checks_that_another_batch_of_the_program_ran_count(base: Snapshot) -> None:
    """Checks run in the first chosen cell of a program; a run of the large batches alone has them there."""
    small, large = of("torch", batch=1), of("torch", batch=8)
    once = changed(base, large, checks=())
    head = changed(base, small, checks=())
    head = head.model_copy(update={"cells": tuple(cell for cell in head.cells if not small(cell))})

    assert verdicts(gate(head, once))["numerics"] == "unchanged"
    assert "numerics" not in verdicts(gate(once, once))
    nothing = changed(head, large, checks=())
    assert gate(nothing, once).counts.get("regressed") is None


def test_accuracy_falls_beyond_the_margin_with_mcnemars_test() -> None:
    base = snapshot(synthetic_run(Truth(seed=1, noise=QUIET)))
    fallen = snapshot(synthetic_run(Truth(seed=1, noise=QUIET, accuracy={"jax": 0.90})))
    slightly = snapshot(synthetic_run(Truth(seed=1, noise=QUIET, accuracy={"jax": 0.9675})))

    assert verdicts(gate(fallen, base), "resnet20-jax-jit-b64") == {"accuracy": "regressed"}
    assert verdicts(gate(base, fallen), "resnet20-jax-jit-b64") == {"accuracy": "improved"}
    assert verdicts(gate(slightly, base), "resnet20-jax-jit-b64") == {"accuracy": "unchanged"}
    verdict = next(v for v in gate(fallen, base).verdicts if v.metric == "accuracy" and v.series == "jax jit")
    assert verdict.scale == "difference"
    assert verdict.change is not None
    assert verdict.change.value == pytest.approx(-0.07, abs=0.003)


def test_other_test_images_are_not_comparable(base: Snapshot) -> None:
    cell = next(cell for cell in base.cells if cell.cell.train and cell.cell.backend == "jax")
    head = changed(base, lambda c: c is cell, targets=tuple((t + 1) % 10 for t in cell.targets))

    assert verdicts(gate(head, base), cell.cell.id) == {"accuracy": "not comparable"}


def test_too_few_samples_are_inconclusive(base: Snapshot) -> None:
    rounds = (
        RoundMedian(launch=0, round=0, median_s=0.1, samples=3),
        RoundMedian(launch=1, round=0, median_s=0.1, samples=3),
    )
    result = gate(changed(base, of("torch"), rounds=rounds), base)

    found = next(v for v in result.verdicts if v.subject == "resnet50-torch-eager-b8" and v.metric == "latency")
    assert found.verdict == "inconclusive"
    assert "6 samples" in found.reason


def test_a_change_of_microseconds_never_matters() -> None:
    """A cell of 0.1 ms that takes 30 % longer changes by less than the 50 microseconds that count."""
    base = snapshot(synthetic_run(Truth(seed=1, noise=QUIET)))

    def scaled(run: Snapshot, factor: float) -> Snapshot:
        cells = []
        for cell in run.cells:
            own = factor if cell.cell.backend == "torch" else 1.0
            typical = 1e-4 * own
            centre = sorted(item.median_s for item in cell.rounds)[len(cell.rounds) // 2] if cell.rounds else 1
            rounds = tuple(
                item.model_copy(update={"median_s": item.median_s / centre * typical}) for item in cell.rounds
            )
            cells.append(cell.model_copy(update={"rounds": rounds}))
        return run.model_copy(update={"cells": tuple(cells)})

    strict = Rules(Gates.model_validate({"latency": {"threshold": 0.1, "min_change_s": 0.0}}))
    assert verdicts(gate(scaled(base, 1.3), scaled(base, 1.0)))["latency"] == "unchanged"
    assert verdicts(gate(scaled(base, 1.3), scaled(base, 1.0), strict))["latency"] == "regressed"


def test_metrics_can_be_turned_off(base: Snapshot) -> None:
    result = gate(base, base, Rules(Gates.model_validate({"latency": None, "memory": None, "accuracy": None})))

    assert {verdict.metric for verdict in result.verdicts} == {"numerics"}


def test_nothing_judged_is_not_green(base: Snapshot) -> None:
    assert gate(base.model_copy(update={"cells": ()}), base).exit_code == 5


def test_base_and_head_in_the_same_rounds_need_no_yardstick() -> None:
    """Both sides of an A/B run share their drift round by round, however large it is."""
    wild = Noise(run=0.3, group=0.1, round=0.2, launch=0.01, call=0.02)
    base = synthetic_run(Truth(seed=5, noise=wild, side="base", backends=("torch",)))
    head = synthetic_run(Truth(seed=5, noise=wild, slowdown={"torch": 1.25}, backends=("torch",)))
    both = snapshot(base).model_copy(update={"cells": (*snapshot(base).cells, *snapshot(head).cells)})
    result = gate_sides(both)

    found = [v for v in result.verdicts if v.metric == "latency"]
    assert {v.verdict for v in found} == {"regressed"}
    assert all(v.change is not None and v.change.value == pytest.approx(1.25, rel=0.02) for v in found)


def test_the_figures_beside_a_verdict_are_those_that_decided_it(base: Snapshot) -> None:
    head = snapshot(synthetic_run(Truth(seed=2, noise=QUIET, slowdown={"numpy": 1.3})))
    for verdict in gate(head, base).verdicts:
        if verdict.metric != "latency":
            continue
        assert verdict.change is not None
        assert verdict.threshold == pytest.approx(0.1)
        assert verdict.detectable is not None
        assert verdict.detectable > verdict.threshold
        assert verdict.false_alarm_rate is not None
        assert verdict.false_alarm_rate < 0.025
        if verdict.verdict == "regressed":
            assert verdict.change.low > 1.1
            assert verdict.series.split()[0] == "numpy"


def test_a_planned_cell_without_a_record_is_not_comparable() -> None:
    """As after a run that was killed: what there is may be unchanged, but nobody knows of the rest."""
    whole = synthetic_run(Truth(seed=1, noise=QUIET))
    torch = tuple(record.cell for record in whole.records if record.cell.backend == "torch")
    rest = tuple(record for record in whole.records if record.cell.backend != "torch")
    result = gate(snapshot(replace(whole, records=rest, unrecorded=torch)), snapshot(whole))

    assert set(verdicts(result).values()) == {"not comparable"}
    assert {v.reason for v in result.verdicts if v.series == "torch eager"} == {
        "nothing was measured: interrupted, the run has no record of it"
    }
    assert result.exit_code == 5


def test_machines_that_nobody_knows_are_not_the_same(base: Snapshot) -> None:
    unknown = base.model_copy(update={"fingerprint": ""})
    result = gate(unknown, unknown)

    assert verdicts(result)["latency"] == verdicts(result)["memory"] == "not comparable"
    assert "baseline unknown, run unknown" in result.notes[0]


@pytest.mark.parametrize("skipped", [True, False])
def test_checks_that_neither_side_ran_say_nothing(base: Snapshot, skipped: bool) -> None:
    checks = (CheckOutcome(name="local", status="skipped", message="no budget"),) if skipped else ()
    alike = changed(base, lambda cell: cell.cell.backend == "torch", checks=checks)
    result = gate(alike, alike)

    assert verdicts(result)["numerics"] == "not comparable"
    assert {v.reason for v in result.verdicts if v.metric == "numerics" and v.verdict != "unchanged"} == {
        "no check ran on either side"
    }


def test_a_device_s_memory_is_not_compared_with_a_process_s(base: Snapshot) -> None:
    head = changed(base, of("torch"), device_peak_bytes=1)
    result = gate(head, base)

    assert verdicts(result)["memory"] == "not comparable"
    (found,) = [v for v in result.verdicts if v.metric == "memory" and v.verdict == "not comparable"]
    assert found.reason == "one side has the peak of the device's allocator, the other that of the process"
