"""Layers of several inputs."""

from __future__ import annotations

import numpy as np

from cnnbench.execution.operations import Gradients, OpResult
from cnnbench_indexed.ops.registry import OPERATIONS


def _of_shape(gradient, shape):
    """A gradient summed over the axes along which its operand was repeated."""
    lead = gradient.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1 and gradient.shape[lead + i] != 1)
    return gradient.sum(axis=axes).reshape(shape) if axes else gradient


def add_gradient(layer, saved, gradients, weights, call):
    """To each input."""
    return Gradients(tuple(_of_shape(gradients[0], shape) for shape in saved))


@OPERATIONS.register("add", backward=add_gradient)
def add(layer, inputs, weights, state, call):
    """The sum, of shapes that broadcast."""
    total = inputs[0]
    for x in inputs[1:]:
        total = total + x
    return OpResult((total,), saved=[x.shape for x in inputs])


def concat_gradient(layer, saved, gradients, weights, call):
    """Its parts."""
    return Gradients(tuple(np.split(gradients[0], np.cumsum(saved)[:-1], axis=layer.axis)))


@OPERATIONS.register("concat", backward=concat_gradient)
def concat(layer, inputs, weights, state, call):
    """Along an axis."""
    return OpResult((np.concatenate(inputs, axis=layer.axis),), saved=[x.shape[layer.axis] for x in inputs])
