"""Reference reductions over any axes, positions of extremes, and the largest few."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.reduction import ArgReduce, Reduce, TopK
from cnnbench_numpy.ops.registry import REFERENCE, Array, Arrays


def _let_go(kept: Array, axes: tuple[int, ...], call: Call) -> Array:
    """A reduced value without the (canonical) axes that have size 1, in the layout of its new rank."""
    order = call.order_after_removal(axes, kept.ndim)
    left = kept.squeeze(call.axes(axes, kept.ndim))
    return left if order is None else left.transpose(order)


def _taken_back(gradient: Array, axes: tuple[int, ...], rank: int, call: Call) -> Array:
    """The inverse of ``_let_go``."""
    order = call.order_after_removal(axes, rank)
    left = gradient if order is None else gradient.transpose(np.argsort(order))
    return np.expand_dims(left, call.axes(axes, rank))


def _reduced(function: str, x: Array, axes: tuple[int, ...]) -> Any:
    match function:
        case "sum":
            return x.sum(axes, keepdims=True)
        case "mean":
            with np.errstate(invalid="ignore"):
                return x.sum(axes, keepdims=True) / x.dtype.type(_count(x, axes))
        case "max":
            return x.max(axes, keepdims=True, initial=-math.inf)
        case "min":
            return x.min(axes, keepdims=True, initial=math.inf)
        case "prod":
            return x.prod(axes, keepdims=True)
        case "l1":
            return np.abs(x).sum(axes, keepdims=True)
        case "l2":
            return np.sqrt(np.square(x).sum(axes, keepdims=True))
        case "sum_square":
            return np.square(x).sum(axes, keepdims=True)
        case "log_sum":
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.log(x.sum(axes, keepdims=True))
    top = x.max(axes, keepdims=True, initial=-math.inf)
    top = np.where(np.isfinite(top), top, 0)  # inf - inf would be NaN
    with np.errstate(divide="ignore"):
        return np.log(np.exp(x - top).sum(axes, keepdims=True)) + top


def _count(x: Array, axes: tuple[int, ...]) -> int:
    return math.prod(x.shape[axis] for axis in axes)


def _products_of_others(x: Array, axes: tuple[int, ...]) -> Array:
    """For each element the product of all others that are reduced with it, without a division."""
    last = tuple(range(x.ndim - len(axes), x.ndim))
    moved = np.moveaxis(x, axes, last)
    flat = moved.reshape(*moved.shape[: x.ndim - len(axes)], -1)
    one = np.ones_like(flat[..., :1])
    before = np.concatenate([one, flat[..., :-1]], -1).cumprod(-1)
    after = np.concatenate([flat[..., 1:], one], -1)[..., ::-1].cumprod(-1)[..., ::-1]
    return np.moveaxis((before * after).reshape(moved.shape), last, axes)


def _slope(function: str, x: Array, y: Array, axes: tuple[int, ...]) -> Any:
    """The derivative of the reduced value with respect to each element."""
    match function:
        case "sum":
            return np.ones_like(x)
        case "mean":
            return np.full_like(x, 1 / max(_count(x, axes), 1))
        case "max" | "min":
            top = (x == y).astype(x.dtype)
            return top / np.maximum(top.sum(axes, keepdims=True), 1)
        case "prod":
            return _products_of_others(x, axes) if x.size else x
        case "l1":
            return np.sign(x)
        case "l2":
            return np.where(y == 0, 0, x / np.where(y == 0, 1, y))
        case "sum_square":
            return 2 * x
        case "log_sum":
            return np.broadcast_to(1 / x.sum(axes, keepdims=True), x.shape)
    with np.errstate(invalid="ignore"):
        return np.exp(x - y)


def reduce_backward(layer: Reduce, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The derivative with respect to each element times the gradient of the value that it went into."""
    x, y, axes = saved
    dy = gradients[0] if layer.keepdims else _taken_back(gradients[0], layer.reduced(x.ndim), x.ndim, call)
    return Gradients((_slope(layer.function, x, y, axes) * dy,))


@REFERENCE.register("reduce", backward=reduce_backward)
def reduce(layer: Reduce, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The function of all values along the axes."""
    x = inputs[0]
    axes = call.axes(layer.reduced(x.ndim), x.ndim)
    y = np.asarray(_reduced(layer.function, x, axes))
    return OpResult((y if layer.keepdims else _let_go(y, layer.reduced(x.ndim), call),), saved=(x, y, axes))


@REFERENCE.register("arg_reduce")
def arg_reduce(layer: ArgReduce, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The first position of the extreme; the last one is the first of the values in reverse."""
    x = inputs[0]
    axis = call.axis(layer.axis, x.ndim)
    find = np.argmax if layer.function == "argmax" else np.argmin
    if layer.select_last_index:
        position = x.shape[axis] - 1 - find(np.flip(x, axis), axis, keepdims=True)
    else:
        position = find(x, axis, keepdims=True)
    return OpResult((position if layer.keepdims else _let_go(position, (layer.axis,), call),))


def top_k_backward(layer: TopK, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """Each gradient at the position of its value."""
    shape, positions, axis = saved
    dx = np.zeros(shape, gradients[0].dtype)
    np.put_along_axis(dx, positions, gradients[0], axis)
    return Gradients((dx,))


@REFERENCE.register("top_k", backward=top_k_backward)
def top_k(layer: TopK, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The first k of a stable sort."""
    x = inputs[0]
    axis = call.axis(layer.axis, x.ndim)
    order = np.argsort(-x if layer.largest else x, axis, kind="stable")
    positions = np.take(order, range(layer.k), axis)
    return OpResult((np.take_along_axis(x, positions, axis), positions), saved=(x.shape, positions, axis))
