"""After the training of a network that is no classifier its outputs are held to NumPy's: wrong ones end the cell."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fake_machine import FakeMachine
from small_suite import small_suite

from cnnbench.errors import UnavailableError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.precision import precision
from cnnbench.harness.passes.findings import Evaluation, Training
from cnnbench.harness.passes.reference_curves import ReferenceCurves
from cnnbench.harness.passes.training import EXAMPLES, EXAMPLES_FILE, wrong_training
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.suite.plan import plan
from cnnbench.harness.worker.arrays import read_arrays, write_arrays
from cnnbench.harness.worker.handlers import training as handlers
from cnnbench.harness.worker.protocol.training import TEST_IMAGES, EvaluateRequest, TrainReply, TrainRequest
from cnnbench.spec.weights import split_state
from cnnbench.training.evaluation import outputs_of
from cnnbench.training.task import TrainingTask

IMAGES = 10
MATRIX = {
    "architectures": ["unet_tiny"],
    "image": [[3, 32, 32]],
    "num_classes": 4,
    "backends": [{"name": "numpy", "mode": ["fast", "reference"]}],
}
TRAIN = {
    "architectures": ["unet_tiny"],
    "data": "shapes",
    "epochs": 2,
    "batch": 4,
    "test_images": IMAGES,
    "train_images": 8,
    "envelope_runs": 2,
}
ALLOWED = 2.0**14 * precision("float32").product_roundoff


@pytest.fixture
def go(tmp_path):
    """Runs the suite: NumPy's own outputs are what was trained, changed in one mode, and what they are held to."""
    machine, numpy_backend = FakeMachine(), load_backend("numpy")

    def start(change):
        def train(worker, request):
            arrays = read_arrays(request.arrays)
            task = TrainingTask(numpy_backend, request.graph, arrays, request.settings, request.options)
            program = numpy_backend.compile_forward(request.graph, task.passes(training=False))
            program.load(*split_state(request.graph, arrays))
            images = task.data("test").images
            found = outputs_of(program, task.input[0], images, request.settings.batch)
            if request.options.mode == "fast":
                found = change(found["logits"]) or found
            write_arrays(request.final, arrays)
            write_arrays(request.outputs, {**found, TEST_IMAGES: images})
            return TrainReply(losses=worker._losses(request), predictions=(), targets=())

        state = SimpleNamespace(loaded=numpy_backend)
        machine.answers[TrainRequest] = train
        machine.answers[EvaluateRequest] = lambda worker, request: handlers.evaluate(request, state)
        none = {"latency": None, "memory": False, "yardsticks": False}
        planned = plan(small_suite("outputs", matrix=MATRIX, measure=none, train=TRAIN))
        result = run(planned, RunOptions(root=tmp_path), executor=machine.executor)
        return result, {record.cell.mode: record for record in result.records}

    return start


def test_outputs_that_are_numpys_end_well(go) -> None:
    result, records = go(lambda logits: None)
    for record in records.values():
        assert record.status == "ok", record.reason
        found = record.training.evaluation
        assert (found.compared, found.images, found.near_ties, found.differing) == ("outputs", IMAGES, 0, ())
        assert found.allowed == ALLOWED
        assert found.largest < 0.1 * ALLOWED
        assert record.training.predictions == record.training.targets == ()
    kept = list(Path(result.folder).rglob(EXAMPLES_FILE))
    assert [len(read_arrays(path)["logits"]) for path in kept] == [EXAMPLES] * 2


def off_by(share):
    def change(logits):
        logits[6, 1, 3, 3] += share * ALLOWED * np.abs(logits[6]).max()

    return change


def test_a_departure_within_what_is_allowed_is_none(go) -> None:
    _, records = go(off_by(0.8))
    assert {record.status for record in records.values()} == {"ok"}
    assert 0.7 * ALLOWED < records["fast"].training.evaluation.largest <= ALLOWED


def not_a_number(logits):
    logits[6, 0, 0, 0] = np.nan


def other_order(logits):
    logits[[6, 7]] = logits[[7, 6]]


@pytest.mark.parametrize(
    ("change", "differing"),
    [
        pytest.param(off_by(1.3), (6,), id="one-value"),
        pytest.param(not_a_number, (6,), id="not-a-number"),
        pytest.param(other_order, (6, 7), id="two-images-swapped"),
    ],
)
def test_one_wrong_output_ends_its_cell_as_a_mismatch(go, change, differing) -> None:
    result, records = go(change)
    assert records["reference"].status == "ok"
    assert records["fast"].status == "mismatch"
    assert records["fast"].training.evaluation.differing == differing
    reason = records["fast"].reason
    assert f"{len(differing)} of {IMAGES} test images get outputs that lie more than" in reason
    assert "the first at position 6" in reason
    assert result.exit_code == 4


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(lambda logits: {"other": logits}, id="another-name"),
        pytest.param(lambda logits: {"logits": logits[:, :3]}, id="another-shape"),
        pytest.param(lambda logits: {"logits": logits[:-1]}, id="an-image-less"),
    ],
)
def test_outputs_that_are_not_the_networks_are_a_mismatch_too(go, given) -> None:
    _, records = go(given)
    assert records["reference"].status == "ok"
    assert records["fast"].status == "mismatch"
    assert "10 of 10 test images" in records["fast"].reason


@pytest.mark.parametrize("narrow", ["bfloat16", "float16"])
def test_outputs_of_narrow_types_are_not_compared(narrow: str) -> None:
    cell = plan(small_suite("outputs", matrix=MATRIX, train=TRAIN)).cells[0].model_copy(update={"precision": narrow})
    references = ReferenceCurves(None, None)  # type: ignore[arg-type]
    with pytest.raises(UnavailableError, match=f"outputs in {narrow} may lie farther apart"):
        references.evaluated(cell, Path("f"), Path("o"), Training(epochs=(), losses=(1.0,)))


def test_what_a_wrong_training_is_called() -> None:
    right = Evaluation(images=3, near_ties=0, differing=(), compared="outputs", allowed=0.001, largest=0.0005)
    training = Training(epochs=(), losses=(1.0, 0.5), evaluation=right)
    assert wrong_training(training) is None
    far = right.model_copy(update={"differing": (1, 2), "largest": 0.25})
    failure = wrong_training(training.model_copy(update={"evaluation": far}))
    assert failure is not None
    assert failure.status == "mismatch"
    assert "2 of 3 test images get outputs that lie more than 0.001" in failure.reason
    assert failure.reason.endswith("the farthest lies 0.25")
