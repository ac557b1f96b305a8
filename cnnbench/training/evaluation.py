"""What a network's outputs on test images come to, computed on the host alike for every backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.losses import loss_graph
from cnnbench.execution.precision import precision
from cnnbench.spec.losses import CrossEntropy, Loss, MeanSquaredError, Objective
from cnnbench.spec.weights import split_state
from cnnbench.training.task import TrainingTask


def host_loss(loss: Loss, outputs: Any, targets: Any) -> float:
    """A loss of outputs on the host, in float64, so that evaluation adds no difference between backends.

    A loss that is not written here is its layer on the NumPy reference.

    Args:
        loss: The loss.
        outputs: The main output (N, classes).
        targets: Classes (N,), or values of the output's shape.
    """
    if isinstance(loss, Objective):
        return float(outputs)
    if isinstance(loss, MeanSquaredError):
        return float(np.mean((outputs - targets) ** 2))
    if not isinstance(loss, CrossEntropy) or loss.of_layer or outputs.ndim > 2:
        return _of_layer(loss, outputs, targets)
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    e = loss.label_smoothing
    of_target = logarithms[np.arange(len(targets)), targets]
    return float(-np.mean((1 - e) * of_target + e * logarithms.mean(axis=1)))


def predict_images(task: TrainingTask, positions: Sequence[int]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The predicted classes of test images by the task's arrays, and by how much each leads.

    Args:
        task: Whose arrays are those of the trained network.
        positions: Of the images among the test images.

    Returns:
        The classes, and of each the distance of the two largest outputs over the largest magnitude.
    """
    program = task.backend.compile_forward(task.graph, task.passes(training=False))
    program.load(*split_state(task.graph, task.arrays))
    images, main = task.data("test").images, task.graph.outputs[0][0]
    outputs = []
    for start in range(0, len(positions), task.settings.batch):
        operands = program.upload({task.input[0]: images[list(positions[start : start + task.settings.batch])]})
        outputs.append(np.asarray(program.download(program.run(operands)).outputs[main], np.float64))
    values = np.concatenate(outputs)
    first, second = np.sort(values, axis=1)[:, :-3:-1].T
    with np.errstate(divide="ignore", invalid="ignore"):
        leads = (first - second) / np.abs(values).max(axis=1)
    return tuple(map(int, values.argmax(axis=1))), tuple(map(float, leads))


def _of_layer(loss: Loss, outputs: Any, targets: Any) -> float:
    graph = loss_graph(loss, tuple(outputs.shape))
    options = ProgramOptions("reference", precision("float64"), "channels_first")
    program = load_backend("numpy").compile_forward(graph, options)
    program.load({}, {})
    result = program.run(program.upload({"output": outputs, "targets": targets}))
    return float(program.download(result).outputs["output"])
