"""Every registered fault is killed and located, and clean backends raise no alarm."""

from __future__ import annotations

import pytest
from loaded_backends import loaded_backend

from cnnbench.errors import SuiteError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.faults import fault, faults, inject, kill_table
from cnnbench.numerics.subject import InProcessSubject

SLOW = [
    pytest.param("numpy", "reference", marks=pytest.mark.slow),
    pytest.param("torch", "eager", marks=[pytest.mark.torch, pytest.mark.slow]),
    pytest.param("jax", "jit", marks=[pytest.mark.jax, pytest.mark.slow]),
    pytest.param("tensorflow", "graph", marks=[pytest.mark.tensorflow, pytest.mark.slow]),
]


@pytest.mark.parametrize(("backend", "mode"), [("numpy", "fast"), *SLOW])
def test_every_fault_is_killed_by_ten_budgets_and_located_at_its_node(backend, mode):
    if backend != "numpy":
        pytest.importorskip(backend, reason=f"needs {backend}")
    rows = kill_table(loaded_backend(backend), ProgramOptions(mode, precision("float32")))
    assert {row.fault for row in rows} == set(faults())
    survived = {row.fault: row.message for row in rows if not row.killed and not row.skipped}
    assert survived == {}
    assert [row.fault for row in rows if row.killed and not row.located] == []
    assert [row.fault for row in rows if row.false_alarm] == []
    of_tensorflow = {"max_pool.drops_nan", "softmax.without_maximum"}  # what the framework declares of itself
    declared = of_tensorflow if backend == "tensorflow" else set()
    assert {row.fault for row in rows if row.skipped} == declared


CONFIGURATIONS = 8  # of the faults, for each seed; every one of them comes in its turn


def no_false_alarms(backend: str, mode: str, seeds: range) -> None:
    """Every fault's configuration without the fault, on seeds that nothing was adjusted to."""
    subject = InProcessSubject(loaded_backend(backend))
    options = ProgramOptions(mode, precision("float32"))
    alarms = []
    names = sorted(faults())
    turns = -(-len(names) // CONFIGURATIONS)
    for seed in seeds:
        for name in names[seed % turns :: turns]:
            item = fault(name)
            outcome = run_checks([item.check], subject, item.case(options, seed))[0]
            if outcome.status == "failed":
                alarms.append((seed, name, outcome.message))
    assert alarms == []


@pytest.mark.parametrize("mode", [pytest.param("reference", marks=pytest.mark.slow), "fast"])
def test_clean_runs_raise_no_alarm(mode):
    no_false_alarms("numpy", mode, range(1000, 1020))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("backend", "mode"),
    [
        ("numpy", "fast"),
        pytest.param("torch", "eager", marks=pytest.mark.torch),
        pytest.param("jax", "jit", marks=pytest.mark.jax),
        pytest.param("tensorflow", "graph", marks=pytest.mark.tensorflow),
    ],
)
def test_two_hundred_clean_seeds_raise_no_alarm(backend, mode):
    if backend != "numpy":
        pytest.importorskip(backend, reason=f"needs {backend}")
    no_false_alarms(backend, mode, range(2000, 2200))


def test_a_fault_lasts_as_long_as_its_context_and_no_longer():
    backend = load_backend("numpy")
    options = ProgramOptions("reference", precision("float32"))
    for name in ("conv.kernel_flip", "cross_entropy.no_label_smoothing"):
        item = fault(name)
        case = item.case(options, 5)
        with pytest.raises(RuntimeError), inject(backend, name):
            assert run_checks([item.check], InProcessSubject(backend), case)[0].status == "failed"
            raise RuntimeError
        assert run_checks([item.check], InProcessSubject(backend), case)[0].status == "passed"


def test_a_fault_in_the_examined_numpy_backend_does_not_reach_the_oracle(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNBENCH_CACHE", str(tmp_path))  # an empty cache: the oracle computes inside the context
    item = fault("batch_norm.wrong_eps")
    backend = load_backend("numpy")
    with inject(backend, item.name):
        outcome = run_checks(
            ["local"], InProcessSubject(backend), item.case(ProgramOptions("reference", precision("float32")), 0)
        )[0]
    assert outcome.status == "failed"


def test_each_fault_describes_itself_and_names_an_existing_check():
    from cnnbench.numerics.checks import CHECKS

    assert len(faults()) >= 12
    for name, item in faults().items():
        assert name == item.name
        assert item.description
        assert item.check in CHECKS
        assert sum(change is not None for change in (item.operation, item.loss, item.optimizer, item.programs)) == 1


def test_an_unknown_fault_is_answered_with_the_nearest():
    with pytest.raises(SuiteError, match=r"conv\.kernel_flip"):
        fault("conv.kernel_flp")
