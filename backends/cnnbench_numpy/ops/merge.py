"""Reference ops that join several values: add, concatenate."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers import Add, Concat
from cnnbench_numpy.ops.registry import REFERENCE, Arrays


def add_backward(layer: Add, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """Every operand gets the whole gradient."""
    return Gradients(gradients * saved)


@REFERENCE.register("add", backward=add_backward)
def add(layer: Add, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The sum from left to right."""
    total = inputs[0]
    for value in inputs[1:]:
        total = total + value
    return OpResult((total,), saved=len(inputs))


def concat_backward(layer: Concat, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """Each operand gets its own part."""
    axis, ends = saved
    return Gradients(tuple(np.split(gradients[0], ends, axis=axis)))


@REFERENCE.register("concat", backward=concat_backward)
def concat(layer: Concat, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The operands one after the other along ``axis``."""
    axis = call.axis(layer.axis, inputs[0].ndim)
    ends = np.cumsum([value.shape[axis] for value in inputs[:-1]])
    return OpResult((np.concatenate(inputs, axis=axis),), saved=(axis, ends))
