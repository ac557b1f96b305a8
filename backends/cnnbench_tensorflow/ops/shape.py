"""Layers that give values another shape; sizes are stated, since -1 is ambiguous for an empty batch."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.shape import Expand, Tile, Transpose
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
