"""Reference ops that move values and compute nothing: flatten, pad."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers import Flatten, Pad
from cnnbench_numpy.ops.registry import REFERENCE, Arrays


def flatten_backward(layer: Flatten, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The gradient in the input's shape."""
    return Gradients((gradients[0].reshape(saved),))


@REFERENCE.register("flatten", backward=flatten_backward)
def flatten(layer: Flatten, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The axes from ``start_axis`` on as one, in row-major order."""
    x = inputs[0]
    return OpResult((x.reshape(layer.output_shapes((x.shape,))[0]),), saved=x.shape)


def pad_backward(layer: Pad, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The gradient of what was there before."""
    inside = tuple(slice(begin, begin + size) for (begin, _), size in zip(saved[0], saved[1], strict=True))
    return Gradients((gradients[0][inside],))


@REFERENCE.register("pad", backward=pad_backward)
def pad(layer: Pad, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The input surrounded by a constant."""
    widths = call.per_axis(((0, 0), *layer.padding))
    return OpResult(
        (np.pad(inputs[0], widths, constant_values=layer.value),),
        saved=(widths, inputs[0].shape),
    )
