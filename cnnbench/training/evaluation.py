"""What a network's outputs on test images come to, computed on the host alike for every backend."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.losses import loss_graph
from cnnbench.execution.precision import precision
from cnnbench.spec.losses import CrossEntropy, Loss, MeanSquaredError


def host_loss(loss: Loss, outputs: Any, targets: Any) -> float:
    """A loss of outputs on the host, in float64, so that evaluation adds no difference between backends.

    A loss that is not written here is its layer on the NumPy reference.

    Args:
        loss: The loss.
        outputs: The main output (N, classes).
        targets: Classes (N,), or values of the output's shape.
    """
    if isinstance(loss, MeanSquaredError):
        return float(np.mean((outputs - targets) ** 2))
    if not isinstance(loss, CrossEntropy) or outputs.ndim > 2:
        return _of_layer(loss, outputs, targets)
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    e = loss.label_smoothing
    of_target = logarithms[np.arange(len(targets)), targets]
    return float(-np.mean((1 - e) * of_target + e * logarithms.mean(axis=1)))


def _of_layer(loss: Loss, outputs: Any, targets: Any) -> float:
    graph = loss_graph(loss, tuple(outputs.shape))
    options = ProgramOptions("reference", precision("float64"), "channels_first")
    program = load_backend("numpy").compile_forward(graph, options)
    program.load({}, {})
    result = program.run(program.upload({"output": outputs, "targets": targets}))
    return float(program.download(result).outputs["output"])
