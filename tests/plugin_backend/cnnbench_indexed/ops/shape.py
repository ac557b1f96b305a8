"""Layers that move values."""

from __future__ import annotations

from cnnbench.execution.operations import Gradients, OpResult


def register(operations):
    """Adds this family's op."""
    operations.register("flatten", backward=flatten_gradient)(flatten)


def flatten(layer, inputs, weights, state, call):
    """The axes from ``start_axis`` on as one."""
    x = inputs[0]
    return OpResult((x.reshape(layer.output_shapes((x.shape,))[0]),), saved=x.shape)


def flatten_gradient(layer, saved, gradients, weights, call):
    """The shape as it was."""
    return Gradients((gradients[0].reshape(saved),))
