"""Layers that move values."""

from __future__ import annotations

from cnnbench.execution.operations import Gradients, OpResult
from cnnbench_indexed.ops.registry import OPERATIONS


def flatten_gradient(layer, saved, gradients, weights, call):
    """The shape as it was."""
    return Gradients((gradients[0].reshape(saved),))


@OPERATIONS.register("flatten", backward=flatten_gradient)
def flatten(layer, inputs, weights, state, call):
    """The axes from ``start_axis`` on as one."""
    x = inputs[0]
    return OpResult((x.reshape(layer.output_shapes((x.shape,))[0]),), saved=x.shape)
