"""Reference ops that take part of their input: slice, split, gather, roll."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.indexing import Gather, GatherIndices, Roll, Slice, Split
from cnnbench_numpy.ops.registry import REFERENCE, Array, Arrays
from cnnbench_numpy.ops.shape import scatter


def _taken(layer: Slice, x: Shape, call: Call) -> tuple[slice, ...]:
    """The slice of each of the operand's axes."""
    rows = zip(layer.axes or (), layer.starts, layer.ends, layer.steps or (), strict=True)
    taken = {call.axis(axis, len(x)): slice(start, end, step) for axis, start, end, step in rows}
    return tuple(taken.get(axis, slice(None)) for axis in range(len(x)))


def slice_backward(layer: Slice, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The gradient where it was taken, zero elsewhere."""
    dx = np.zeros(saved, gradients[0].dtype)
    dx[_taken(layer, saved, call)] = gradients[0]
    return Gradients((dx,))


@REFERENCE.register("slice", backward=slice_backward)
def slice_(layer: Slice, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Basic indexing."""
    x = inputs[0]
    return OpResult((x[_taken(layer, x.shape, call)],), saved=x.shape)


def split_backward(layer: Split, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The gradients of the parts joined; a part that nothing reads has none."""
    shape, dtype = saved
    axis = call.axis(layer.axis, len(shape))
    parts = [
        np.zeros((*shape[:axis], size, *shape[axis + 1 :]), dtype) if part is None else part
        for part, size in zip(gradients, layer.parts(), strict=True)
    ]
    return Gradients((np.concatenate(parts, axis),))


@REFERENCE.register("split", backward=split_backward)
def split(layer: Split, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Consecutive parts."""
    x = inputs[0]
    axis = call.axis(layer.axis, x.ndim)
    return OpResult(tuple(np.split(x, np.cumsum(layer.parts())[:-1], axis)), saved=(x.shape, x.dtype))


def gather_backward(layer: Gather, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The sum over the copies of each position."""
    axis = call.axis(layer.axis, len(saved))
    return Gradients((scatter(gradients[0], axis, layer.indices, saved[axis]),))


@REFERENCE.register("gather", backward=gather_backward)
def gather(layer: Gather, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``take`` along an axis."""
    x = inputs[0]
    return OpResult((np.take(x, layer.indices, call.axis(layer.axis, x.ndim)),), saved=x.shape)


def _rows(layer: GatherIndices, x: Shape, indices: Array) -> tuple[Array, ...]:
    """An index for each of the axes up to ``layer.axis``, which together have the shape (A..., *I[shared:])."""
    own = indices.ndim - layer.shared_axes
    grids = []
    for axis in range(layer.axis):
        shape = [1] * (layer.axis + own)
        shape[axis] = x[axis]
        grids.append(np.arange(x[axis]).reshape(shape))
    shared = layer.shared_axes
    middle = (1,) * (layer.axis - shared)
    return (*grids, indices.reshape((*indices.shape[:shared], *middle, *indices.shape[shared:])))


def gather_indices_backward(
    layer: GatherIndices, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """The sum over what was read from each position."""
    shape, rows = saved
    dx = np.zeros(shape, gradients[0].dtype)
    np.add.at(dx, rows, gradients[0])
    return Gradients((dx, None))


@REFERENCE.register("gather_indices", backward=gather_indices_backward)
def gather_indices(layer: GatherIndices, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """out[a..., i..., b...] = x[a..., I[a_shared..., i...], b...]."""
    x, indices = inputs
    rows = _rows(layer, x.shape, indices)
    return OpResult((x[rows],), saved=(x.shape, rows))


def roll_backward(layer: Roll, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """Rolled back."""
    axes = tuple(call.axis(axis, gradients[0].ndim) for axis in layer.axes)
    return Gradients((np.roll(gradients[0], tuple(-shift for shift in layer.shifts), axes),))


@REFERENCE.register("roll", backward=roll_backward)
def roll(layer: Roll, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``numpy.roll``."""
    axes = tuple(call.axis(axis, inputs[0].ndim) for axis in layer.axes)
    return OpResult((np.roll(inputs[0], layer.shifts, axes),))
