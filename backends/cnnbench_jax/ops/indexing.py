"""Layers that take part of their input."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.indexing import Gather, GatherIndices, Roll, Slice, Split
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


@OPERATIONS.register("slice")
def slice_(layer: Slice, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Static indexing."""
    x = inputs[0]
    rows = zip(layer.axes or (), layer.starts, layer.ends, layer.steps or (), strict=True)
    taken = {call.axis(axis, x.ndim): slice(start, end, step) for axis, start, end, step in rows}
    return OpResult((x[tuple(taken.get(axis, slice(None)) for axis in range(x.ndim))],))


@OPERATIONS.register("split")
def split(layer: Split, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.split``."""
    x = inputs[0]
    ends = [int(end) for end in np.cumsum(layer.parts())[:-1]]
    return OpResult(tuple(jnp.split(x, ends, call.axis(layer.axis, x.ndim))))


@OPERATIONS.register("gather")
def gather(layer: Gather, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.take`` at constant positions."""
    x = inputs[0]
    return OpResult((jnp.take(x, np.asarray(layer.indices), call.axis(layer.axis, x.ndim), mode="clip"),))


@OPERATIONS.register("gather_indices")
def gather_indices(layer: GatherIndices, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.take``, or ``take_along_axis`` for each image's own indices; neither checks them.

    In training a narrow operand is read in float32: the gradient sums in the type that is read, and bfloat16 loses
    12 % of 350 positive terms (JAX 0.10).
    """
    x, indices = inputs
    if call.training and x.dtype in (jnp.bfloat16, jnp.float16):
        wide = gather_indices(layer, (x.astype(jnp.float32), indices), weights, state, call)
        return OpResult((wide.outputs[0].astype(x.dtype),))
    axis, shared = layer.axis, layer.shared_axes
    if shared == 0:
        return OpResult((jnp.take(x, indices, axis, mode="clip"),))
    lead = (*indices.shape[:shared], *(1,) * (axis - shared))
    own = indices.reshape((*lead, -1, *(1,) * (x.ndim - axis - 1)))
    taken = jnp.take_along_axis(x, own, axis, mode="clip")
    return OpResult((taken.reshape(layer.output_shapes((x.shape, indices.shape))[0]),))


@OPERATIONS.register("roll")
def roll(layer: Roll, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.roll``."""
    return OpResult((jnp.roll(inputs[0], layer.shifts, tuple(call.axis(axis, inputs[0].ndim) for axis in layer.axes)),))
