"""Who changed, the machine or a backend: no unchanged cell is called changed because others are."""

from __future__ import annotations

import itertools
import math

import pytest
from synthetic_run import make_cell

from cnnbench.gates.baselines import CellSnapshot, RoundMedian, Snapshot
from cnnbench.gates.verdicts import GateResult, gate
from cnnbench.harness.passes.findings import Digests

NAMES = ("numpy", "torch", "jax", "tensorflow", "fifth")
YARDSTICKS = ("matrix_product_gflop_per_s", "copy_gb_per_s")


def cell(backend: str, mode: str, factor: float, batch: int) -> CellSnapshot:
    """A cell that takes ``factor`` times 5 ms, give or take half a per cent."""
    found = make_cell("resnet18", "numpy", batch).model_copy(
        update={
            "backend": backend,
            "mode": mode,
            "key": f"{backend}-{mode}-{batch}",
            "id": f"{backend}-{mode}-b{batch}",
            "checks": (),
        }
    )
    rounds = tuple(
        RoundMedian(launch=launch, round=number, median_s=0.005 * factor * (1 + 0.005 * math.sin(number)), samples=10)
        for launch, number in itertools.product(range(2), range(5))
    )
    digests = Digests(graph="g", weights="w", inputs="i")
    return CellSnapshot(cell=found.model_copy(update={"measure": ("latency",)}), status="ok", digests=digests,
                        rounds=rounds)  # fmt: skip


def run(factors: dict[str, float], *, modes: int, machine: float = 1.0, yardsticks: int = 0) -> Snapshot:
    """A run of two groups on a machine that takes ``machine`` times as long."""
    return Snapshot(
        schema_version=1, suite="s", run_id="r", created_utc="", fingerprint="f",
        yardsticks=dict.fromkeys(YARDSTICKS[:yardsticks], 100 / machine),
        cells=tuple(
            cell(backend, f"mode{mode}", factor * machine, batch)
            for batch in (1, 8) for backend, factor in factors.items() for mode in range(modes)
        ),
    )  # fmt: skip


def judged(factors: dict[str, float], *, modes: int = 1, machine: float = 1.0, yardsticks: int = 0) -> GateResult:
    """The second run, in which backends take so many times as long, against the first."""
    base = run(dict.fromkeys(factors, 1.0), modes=modes, yardsticks=yardsticks)
    return gate(run(factors, modes=modes, machine=machine, yardsticks=yardsticks), base)


@pytest.mark.parametrize("yardsticks", [0, 1, 2])
@pytest.mark.parametrize("modes", [1, 2, 3])
@pytest.mark.parametrize(("backends", "changed"), [(n, k) for n in range(2, 6) for k in range(1, n)])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_no_unchanged_backend_is_called_changed(
    backends: int, changed: int, modes: int, yardsticks: int, factor: float
) -> None:
    factors = {name: factor if i < changed else 1.0 for i, name in enumerate(NAMES[:backends])}
    found = judged(factors, modes=modes, yardsticks=yardsticks)

    unchanged = [v for v in (*found.verdicts, *found.series) if factors[v.series.split()[0]] == 1.0]
    assert {v.verdict for v in unchanged} <= {"unchanged", "inconclusive"}
    told = {v.verdict for v in found.verdicts if factors[v.series.split()[0]] != 1.0}
    assert told <= {"inconclusive", "improved" if factor < 1 else "regressed"}


@pytest.mark.parametrize("modes", [1, 2])
@pytest.mark.parametrize(("backends", "yardsticks"), [(2, 2), (3, 1), (3, 2), (4, 0), (4, 2), (5, 0)])
def test_one_backend_that_changes_is_found_and_the_others_are_unchanged(
    backends: int, modes: int, yardsticks: int
) -> None:
    names = NAMES[:backends]
    found = judged({name: 2.0 if name == "torch" else 1.0 for name in names}, modes=modes, yardsticks=yardsticks)

    assert {(v.series.split()[0], v.verdict) for v in found.verdicts} == {
        (name, "regressed" if name == "torch" else "unchanged") for name in names
    }


def test_a_backend_that_changes_is_found_beside_one_other_and_no_yardstick() -> None:
    found = judged({"numpy": 1.0, "torch": 2.0})

    assert {(v.series, v.verdict) for v in found.verdicts} == {
        ("numpy mode0", "inconclusive"),
        ("torch mode0", "regressed"),
    }
    assert found.exit_code == 1


@pytest.mark.parametrize("backends", [2, 3, 4])
@pytest.mark.parametrize("machine", [0.7, 1.5])
def test_a_machine_that_moved_is_seen_by_its_yardsticks(backends: int, machine: float) -> None:
    found = judged(dict.fromkeys(NAMES[:backends], 1.0), machine=machine, yardsticks=2)

    assert {v.verdict for v in found.verdicts} == {"unchanged"}


@pytest.mark.parametrize("backends", [2, 3, 4])
def test_a_machine_that_moved_far_unseen_by_any_yardstick_leaves_all_undecided(backends: int) -> None:
    found = judged(dict.fromkeys(NAMES[:backends], 1.0), machine=1.5)

    assert {v.verdict for v in found.verdicts} == {"inconclusive"}
    assert all("whether the machine or they changed" in v.reason for v in found.verdicts)


def test_a_small_drift_needs_no_yardstick() -> None:
    found = judged(dict.fromkeys(NAMES[:3], 1.0), machine=1.06)

    assert {v.verdict for v in found.verdicts} == {"unchanged"}
