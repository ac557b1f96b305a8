"""A suite's training ends at its target: in a real run, in its reference curves, and in what plans refuse."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_suite import small_suite

from cnnbench.errors import SuiteError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.suite.plan import plan
from cnnbench.harness.worker.arrays import write_arrays
from cnnbench.harness.worker.handlers import training as handlers
from cnnbench.harness.worker.protocol.training import LossesRequest
from cnnbench.measurement.clock import ManualClock
from cnnbench.registry import build
from cnnbench.spec.weights import initialize
from cnnbench.training.settings import TrainSettings

TRAIN = {"architectures": ["simple_cnn"], "epochs": 3, "batch": 32, "train_images": 96, "test_images": 32}
NOTHING = {"latency": None, "memory": False, "yardsticks": False}


@pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")
def test_a_run_keeps_when_the_target_was_reached(tmp_path: Path) -> None:
    """The first epoch reaches the low target, and the high one is out of reach within three."""
    backends = [{"name": "numpy", "mode": ["fast"]}]
    found = {}
    for target in (0.01, 1.0):
        train = TRAIN | {"target": target, "envelope_runs": 1}
        planned = plan(small_suite("target", matrix={"backends": backends}, measure=NOTHING, train=train))
        found[target] = run(planned, RunOptions(root=tmp_path / str(target)))
    (early,), (late,) = (found[target].records for target in (0.01, 1.0))
    assert (early.training.target.epochs_to_target, len(early.training.losses)) == (1, 3)
    assert early.training.target.time_to_target_s == early.training.epochs[0].seconds > 0
    assert early.training.envelope.steps == 3  # references are not asked for more steps than there are
    assert not found[0.01].summary.notes
    assert (late.status, len(late.training.epochs), late.training.target.epochs_to_target) == ("ok", 3, None)
    assert (found[0.01].exit_code, found[1.0].exit_code) == (0, 5)
    assert late.training.losses[:3] == early.training.losses


def test_a_reference_run_ends_with_the_curve_that_it_runs_beside(tmp_path: Path) -> None:
    graph, path = build("simple_cnn", image=(1, 8, 8), num_classes=10), tmp_path / "start.safetensors"
    write_arrays(path, initialize(graph, 0))
    state: Any = SimpleNamespace(loaded=load_backend("numpy"), clock=ManualClock().clock, emit=lambda event: None)

    def losses(beside: tuple[float, ...]) -> tuple[float, ...]:
        request = LossesRequest(
            graph=graph, options=ProgramOptions("fast", precision("float32")), arrays=path, beside=beside, most=100,
            settings=TrainSettings(epochs=2, batch=32, train_images=96),
        )  # fmt: skip
        return handlers.losses(request, state).losses

    whole = losses(())
    assert len(whole) == 6
    assert losses(whole[:4]) == whole[:4]
    assert losses((whole[0], 9.0 * whole[1], *whole[2:])) == whole[:2]  # it ends where the two have parted


@pytest.mark.parametrize("target", [0.0, 1.5, 90])
def test_a_plan_refuses_an_accuracy_that_says_nothing(target: float) -> None:
    with pytest.raises(SuiteError, match=r"train\.target.*\n.*received.*\n.*accuracy above 0 and at most 1"):
        plan(small_suite("target", train=TRAIN | {"target": target}))


def test_a_target_belongs_to_the_key_of_a_cell_and_its_absence_does_not() -> None:
    def key(**more: Any) -> str:
        return plan(small_suite("target", train=TRAIN | more)).cells[0].key

    assert key() == key(target=None)
    assert len({key(), key(target=0.8), key(target=0.9)}) == 3
