"""Reference ops that give values another shape and compute nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.shape import Expand, Tile, Transpose
from cnnbench_numpy.ops.registry import REFERENCE, Array, Arrays


def reshape_backward(layer: Any, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The gradient in the input's shape."""
    return Gradients((gradients[0].reshape(saved),))


@REFERENCE.register("flatten", backward=reshape_backward)
@REFERENCE.register("reshape", backward=reshape_backward)
@REFERENCE.register("squeeze", backward=reshape_backward)
@REFERENCE.register("unsqueeze", backward=reshape_backward)
def reshape(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The values in row-major order, in the shape that the layer says."""
    x = inputs[0]
    return OpResult((x.reshape(layer.output_shapes((x.shape,))[0]),), saved=x.shape)


def transpose_backward(layer: Transpose, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The axes put back."""
    return Gradients((gradients[0].transpose(np.argsort(layer.permutation)),))


@REFERENCE.register("transpose", backward=transpose_backward)
def transpose(layer: Transpose, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The axes in another order."""
    return OpResult((inputs[0].transpose(layer.permutation),))


def expand_backward(layer: Expand, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The sum over the axes that were repeated; nothing for the input that only gave its batch size."""
    source, aligned, others = saved
    repeated = tuple(i for i, (a, b) in enumerate(zip(aligned, gradients[0].shape, strict=True)) if a != b)
    dx = gradients[0].sum(repeated, keepdims=True).reshape(source)
    return Gradients((dx, *(np.zeros(shape, dx.dtype) for shape in others)))


@REFERENCE.register("expand", backward=expand_backward)
def expand(layer: Expand, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Broadcasting."""
    x = inputs[0]
    aligned = layer.aligned(x.shape)
    shapes = tuple(value.shape for value in inputs)
    y = np.broadcast_to(x.reshape(aligned), layer.output_shapes(shapes)[0])
    return OpResult((np.ascontiguousarray(y),), saved=(x.shape, aligned, shapes[1:]))


def tile_backward(layer: Tile, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The sum over the copies."""
    repeats = call.per_axis((1, *layer.repeats))
    parts = [part for count, size in zip(repeats, saved, strict=True) for part in (count, size)]
    return Gradients((gradients[0].reshape(parts).sum(tuple(range(0, len(parts), 2))),))


@REFERENCE.register("tile", backward=tile_backward)
def tile(layer: Tile, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Copies side by side."""
    return OpResult((np.tile(inputs[0], call.per_axis((1, *layer.repeats))),), saved=inputs[0].shape)


def scatter(gradient: Array, axis: int, indices: Any, size: int) -> Array:
    """The gradient of taking ``indices`` of an axis of this size: the sum at each position of what was taken there.

    Args:
        gradient: Of what was taken.
        axis: From which it was taken.
        indices: Positions on that axis, negative ones counted from its end.
        size: Of that axis.
    """
    rows = np.moveaxis(gradient, axis, 0)
    total = np.zeros((size, *rows.shape[1:]), gradient.dtype)
    np.add.at(total, np.asarray(indices), rows)
    return np.moveaxis(total, 0, axis)
