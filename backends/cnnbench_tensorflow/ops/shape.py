"""Layers that give values another shape; sizes are stated, since -1 is ambiguous for an empty batch."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.shape import Expand, Pad, Tile, Transpose, padded_from
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


@OPERATIONS.register("flatten")
@OPERATIONS.register("reshape")
@OPERATIONS.register("squeeze")
@OPERATIONS.register("unsqueeze")
def reshape(layer: Any, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """A reshape of the canonical operand."""
    return OpResult((tf.reshape(inputs[0], layer.output_shapes((tuple(inputs[0].shape),))[0]),))


@OPERATIONS.register("transpose")
def transpose(layer: Transpose, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.transpose``."""
    return OpResult((tf.transpose(inputs[0], layer.permutation),))


@OPERATIONS.register("expand")
def expand(layer: Expand, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.broadcast_to``."""
    shapes = tuple(tuple(x.shape) for x in inputs)
    x = tf.reshape(inputs[0], layer.aligned(shapes[0]))
    return OpResult((tf.broadcast_to(x, layer.output_shapes(shapes)[0]),))


@OPERATIONS.register("tile")
def tile(layer: Tile, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.tile``."""
    return OpResult((tf.tile(inputs[0], call.per_axis((1, *layer.repeats))),))


@OPERATIONS.register("pad")
def pad(layer: Pad, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.pad``; copies by index in the modes that it lacks (edge, wrap)."""
    x = inputs[0]
    widths = call.per_axis(((0, 0), *layer.padding))
    if layer.mode == "constant":
        return OpResult((tf.pad(x, widths, constant_values=tf.constant(layer.value, x.dtype)),))
    if layer.mode in ("reflect", "symmetric"):
        return OpResult((tf.pad(x, widths, layer.mode.upper()),))
    for axis, (begin, end) in enumerate(widths):
        if begin or end:
            x = tf.gather(x, padded_from(layer.mode, x.shape[axis], begin, end), axis=axis)
    return OpResult((x,))
