"""Layers that take part of their input."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.indexing import Gather, GatherIndices, Roll, Slice, Split
from cnnbench_tensorflow.framework import tf, wide
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


@OPERATIONS.register("slice")
def slice_(layer: Slice, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """A strided slice."""
    x = inputs[0]
    rank = x.shape.rank
    rows = zip(layer.axes or (), layer.starts, layer.ends, layer.steps or (), strict=True)
    taken = {call.axis(axis, rank): slice(start, end, step) for axis, start, end, step in rows}
    return OpResult((x[tuple(taken.get(axis, slice(None)) for axis in range(rank))],))


@OPERATIONS.register("split")
def split(layer: Split, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.split``."""
    x = inputs[0]
    return OpResult(tuple(tf.split(x, layer.parts(), axis=call.axis(layer.axis, x.shape.rank))))


@OPERATIONS.register("gather")
def gather(layer: Gather, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.gather`` at constant positions."""
    x = inputs[0]
    return OpResult((tf.gather(x, layer.indices, axis=call.axis(layer.axis, x.shape.rank)),))


@OPERATIONS.register("gather_indices")
def gather_indices(layer: GatherIndices, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.gather``; in training a narrow operand is read in float32, in which its gradient is then summed.

    The reshaping makes the gradient dense there: else its slices are rounded first and summed after.
    """
    x = inputs[0]
    narrow = call.training and x.dtype in (tf.bfloat16, tf.float16)
    read = tf.reshape(wide(x), tf.shape(x)) if narrow else x
    y = tf.gather(read, inputs[1], axis=layer.axis, batch_dims=layer.shared_axes)
    return OpResult((tf.cast(y, x.dtype),))


@OPERATIONS.register("roll")
def roll(layer: Roll, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.roll``."""
    axes = [call.axis(axis, inputs[0].shape.rank) for axis in layer.axes]
    return OpResult((tf.roll(inputs[0], layer.shifts, axes),))
