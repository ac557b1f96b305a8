"""Reductions over any axes, positions of extremes, and the largest few."""

from __future__ import annotations

import math
from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.reduction import ArgReduce, Reduce, TopK
from cnnbench_tensorflow.framework import tf, wide
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


def _norm(x: Any, axes: tuple[int, ...]) -> Any:
    """sqrt(sum x^2); the root's gradient at 0, infinite times 0, is left out."""
    total = tf.reduce_sum(tf.square(x), axes, keepdims=True)
    nothing = tf.equal(total, 0)
    return tf.where(nothing, tf.zeros_like(total), tf.sqrt(tf.where(nothing, tf.ones_like(total), total)))


def _extreme(x: Any, axes: tuple[int, ...], *, largest: bool) -> Any:
    """The extreme, NaN where there is one.

    XLA passes over NaN, and Grappler takes the root or logarithm after the maximum where it stood before (2.21).
    """
    found = (tf.reduce_max if largest else tf.reduce_min)(x, axes, keepdims=True)
    unordered = tf.reduce_any(tf.math.is_nan(x), axes, keepdims=True)
    return tf.where(unordered, tf.constant(math.nan, x.dtype), found)


def _reduced(function: str, x: Any, axes: tuple[int, ...]) -> Any:
    match function:
        case "sum":
            return tf.reduce_sum(x, axes, keepdims=True)
        case "mean":
            return tf.reduce_mean(x, axes, keepdims=True)
        case "max" | "min":
            return _extreme(x, axes, largest=function == "max")
        case "prod":
            return tf.reduce_prod(x, axes, keepdims=True)
        case "l1":
            return tf.reduce_sum(tf.abs(x), axes, keepdims=True)
        case "l2":
            return _norm(x, axes)
        case "sum_square":
            return tf.reduce_sum(tf.square(x), axes, keepdims=True)
        case "log_sum":
            return tf.math.log(tf.reduce_sum(x, axes, keepdims=True))
    return tf.reduce_logsumexp(x, axes, keepdims=True)


def let_go(kept: Any, axes: tuple[int, ...], call: Call) -> Any:
    """A reduced value without the (canonical) axes that have size 1, in the layout of its new rank.

    Args:
        kept: The value, which still has all its axes.
        axes: That were reduced, in the canonical layout.
        call: With the layout of ``kept``.
    """
    rank = kept.shape.rank
    if not axes:
        return kept  # tf.squeeze takes no axes for all that have size 1
    order = call.order_after_removal(axes, rank)
    left = tf.squeeze(kept, call.axes(axes, rank))
    return left if order is None else tf.transpose(left, order)


@OPERATIONS.register("reduce")
def reduce(layer: Reduce, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The function of that name."""
    x = inputs[0]
    axes = layer.reduced(x.shape.rank)
    y = tf.cast(_reduced(layer.function, wide(x), call.axes(axes, x.shape.rank)), x.dtype)
    return OpResult((y if layer.keepdims else let_go(y, axes, call),))


def first_extreme(x: Any, axis: int, *, largest: bool) -> Any:
    """Position of the first extreme along an axis; a NaN, which ``tf.argmax`` passes over, counts as one.

    Args:
        x: A value of floats.
        axis: Of ``x``.
        largest: Whether the maximum is looked for, and not the minimum.
    """
    found = tf.argmax(x, axis) if largest else tf.argmin(x, axis)
    unordered = tf.math.is_nan(x)
    first = tf.argmax(tf.cast(unordered, tf.int32), axis)
    return tf.where(tf.reduce_any(unordered, axis), first, found)


@OPERATIONS.register("arg_reduce")
def arg_reduce(layer: ArgReduce, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.argmax``; the last of equals is the first of the reversed values."""
    x = inputs[0]
    axis = call.axis(layer.axis, x.shape.rank)
    largest = layer.function == "argmax"
    if layer.select_last_index:
        position = x.shape[axis] - 1 - first_extreme(tf.reverse(x, [axis]), axis, largest=largest)
    else:
        position = first_extreme(x, axis, largest=largest)
    position = tf.expand_dims(position, axis)
    return OpResult((position if layer.keepdims else let_go(position, (layer.axis,), call),))


OPERATIONS.lacks("top_k", "TensorFlow 2.21 has no order for NaN; the reference puts it last", special_values="always")


@OPERATIONS.register("top_k")
def top_k(layer: TopK, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.math.top_k`` along the last axis; the smallest are the largest of the negatives."""
    rank = inputs[0].shape.rank
    axis = call.axis(layer.axis, rank)
    order = [*(i for i in range(rank) if i != axis), axis]
    back = sorted(range(rank), key=lambda i: order[i])
    x = inputs[0] if axis == rank - 1 else tf.transpose(inputs[0], order)
    values, positions = tf.math.top_k(x if layer.largest else -x, layer.k)
    values, positions = values if layer.largest else -values, tf.cast(positions, tf.int64)
    if axis != rank - 1:
        values, positions = tf.transpose(values, back), tf.transpose(positions, back)
    return OpResult((values, positions))
