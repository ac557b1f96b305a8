"""Reference padding: a constant, or copies of the input's own values."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.padding import Pad, padded_from
from cnnbench_numpy.ops.registry import REFERENCE, Arrays
from cnnbench_numpy.ops.shape import scatter


def pad_backward(layer: Pad, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The gradient of what was there before, and of its copies."""
    dx = gradients[0]
    widths, source = saved
    for axis, (size, (begin, end)) in enumerate(zip(source, widths, strict=True)):
        if layer.mode == "constant":
            dx = dx[(*(slice(None),) * axis, slice(begin, begin + size))]
        elif begin or end:
            dx = scatter(dx, axis, padded_from(layer.mode, size, begin, end), size)
    return Gradients((dx,))


@REFERENCE.register("pad", backward=pad_backward)
def pad(layer: Pad, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The input surrounded by a constant or by values of its own."""
    widths = call.per_axis(((0, 0), *layer.padding))
    if layer.mode == "constant":
        y = np.pad(inputs[0], widths, constant_values=layer.constant)
    else:
        y = np.pad(inputs[0], widths, mode=layer.mode)
    return OpResult((y,), saved=(widths, inputs[0].shape))
