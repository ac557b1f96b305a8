"""What a network's outputs on test images come to, computed on the host alike for every backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.backends import load_backend
from cnnbench.execution.compiled import ForwardProgram
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.losses import loss_graph
from cnnbench.execution.precision import precision
from cnnbench.spec.graph import Graph
from cnnbench.spec.losses import CrossEntropy, JointLoss, Loss, MeanSquaredError, Objective, loss_alone
from cnnbench.spec.weights import split_state
from cnnbench.training.batches import evaluation_batches
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


def loss_of_outputs(
    graph: Graph, loss: Loss, outputs: Mapping[str, NDArray[Any]], targets: Mapping[str, NDArray[Any]]
) -> float:
    """A loss of all images' outputs, as ``host_loss``.

    Args:
        graph: The network.
        loss: The loss.
        outputs: Of the network, by name.
        targets: By the names under which the loss takes them.
    """
    if not isinstance(loss, JointLoss):
        return host_loss(loss, outputs[graph.outputs[0][0]].astype(np.float64), targets["targets"])
    read = [outputs[name] for name in loss.reads(graph)]
    alone = loss_alone(graph, loss, len(read[0]))
    return _on_reference(alone, {**dict(zip((item.name for item in alone.inputs), read, strict=False)), **targets})


def outputs_of(program: ForwardProgram, name: str, images: NDArray[Any], batch: int) -> dict[str, NDArray[Any]]:
    """A loaded program's outputs for all images, batch by batch, by name.

    Args:
        program: Of the network.
        name: Of its input.
        images: (N, C, *spatial).
        batch: Images a call; the last one is filled up with the first.
    """
    parts: dict[str, list[NDArray[Any]]] = {}
    for positions, count in evaluation_batches(len(images), batch):
        found = program.download(program.run(program.upload({name: images[positions]}))).outputs
        for output, values in found.items():
            parts.setdefault(output, []).append(np.asarray(values[:count]))
    return {output: np.concatenate(values) for output, values in parts.items()}


def predict_images(task: TrainingTask, positions: Sequence[int]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The predicted classes of test images by the task's arrays, and by how much each leads.

    Args:
        task: Whose arrays are those of the trained network.
        positions: Of the images among the test images.

    Returns:
        The classes, and of each the distance of the two largest outputs over the largest magnitude.
    """
    values = np.asarray(outputs_of_images(task, positions)[task.graph.outputs[0][0]], np.float64)
    first, second = np.sort(values, axis=1)[:, :-3:-1].T
    with np.errstate(divide="ignore", invalid="ignore"):
        leads = (first - second) / np.abs(values).max(axis=1)
    return tuple(map(int, values.argmax(axis=1))), tuple(map(float, leads))


def outputs_of_images(
    task: TrainingTask, positions: Sequence[int], moved: Callable[[NDArray[Any]], NDArray[Any]] = np.asarray
) -> dict[str, NDArray[Any]]:
    """The network's outputs of some test images, by name.

    Args:
        task: Whose arrays are those of the trained network.
        positions: Of the images among the test images.
        moved: What is made of the images first.
    """
    program = task.backend.compile_forward(task.graph, task.passes(training=False))
    program.load(*split_state(task.graph, task.arrays))
    images = moved(task.data("test").images[list(positions)])
    return outputs_of(program, task.input[0], images, task.settings.batch)


def _of_layer(loss: Loss, outputs: Any, targets: Any) -> float:
    return _on_reference(loss_graph(loss, tuple(outputs.shape)), {"output": outputs, "targets": targets})


def _on_reference(graph: Graph, inputs: Mapping[str, Any]) -> float:
    """The main output, a scalar, of a graph without weights on the NumPy reference."""
    options = ProgramOptions("reference", precision("float64"), "channels_first")
    program = load_backend("numpy").compile_forward(graph, options)
    program.load({}, {})
    result = program.run(program.upload(inputs))
    return float(program.download(result).outputs[graph.outputs[0][0]])
