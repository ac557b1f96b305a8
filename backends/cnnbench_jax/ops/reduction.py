"""Reductions over any axes, positions of extremes, and the largest few."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.reduction import ArgReduce, Reduce, TopK
from cnnbench_jax.ops.arithmetic import absolute
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


def wide(x: Array) -> Array:
    """In float32 at least: a function of narrow values is rounded once, when it is stored."""
    return x.astype(jnp.float32) if x.dtype in (jnp.bfloat16, jnp.float16) else x


def _norm(x: Array, axes: tuple[int, ...]) -> Array:
    """sqrt(sum x^2); the root's gradient at 0, infinite times 0, is left out."""
    total = jnp.sum(jnp.square(x), axes, keepdims=True)
    return jnp.where(total == 0, 0, jnp.sqrt(jnp.where(total == 0, 1, total)))


def _extreme(x: Array, axes: tuple[int, ...], *, largest: bool) -> Array:
    """The extreme, NaN where there is one: XLA on the host (JAX 0.10) passes over NaN in wide reductions."""
    start = (-jnp.inf if largest else jnp.inf) if any(x.shape[axis] == 0 for axis in axes) else None
    found = (jnp.max if largest else jnp.min)(x, axes, keepdims=True, initial=start)
    return jnp.where(jnp.any(jnp.isnan(x), axes, keepdims=True), jnp.nan, found)


def _reduced(function: str, x: Array, axes: tuple[int, ...]) -> Array:
    match function:
        case "sum":
            return jnp.sum(x, axes, keepdims=True)
        case "mean":
            return jnp.mean(x, axes, keepdims=True)
        case "max" | "min":
            return _extreme(x, axes, largest=function == "max")
        case "prod":
            return jnp.prod(x, axes, keepdims=True)
        case "l1":
            return jnp.sum(absolute(x), axes, keepdims=True)
        case "l2":
            return _norm(x, axes)
        case "sum_square":
            return jnp.sum(jnp.square(x), axes, keepdims=True)
        case "log_sum":
            return jnp.log(jnp.sum(x, axes, keepdims=True))
    return jax.nn.logsumexp(x, axes, keepdims=True)


def let_go(kept: Array, axes: tuple[int, ...], call: Call) -> Array:
    """A reduced value without the (canonical) axes that have size 1, in the layout of its new rank.

    Args:
        kept: The value, which still has all its axes.
        axes: That were reduced, in the canonical layout.
        call: With the layout of ``kept``.
    """
    order = call.order_after_removal(axes, kept.ndim)
    left = jnp.squeeze(kept, call.axes(axes, kept.ndim))
    return left if order is None else jnp.transpose(left, order)


@OPERATIONS.register("reduce")
def reduce(layer: Reduce, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The function of that name."""
    x = inputs[0]
    axes = layer.reduced(x.ndim)
    y = _reduced(layer.function, wide(x), call.axes(axes, x.ndim)).astype(x.dtype)
    return OpResult((y if layer.keepdims else let_go(y, axes, call),))


@OPERATIONS.register("arg_reduce")
def arg_reduce(layer: ArgReduce, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.argmax``; the last of equals is the first of the flipped values."""
    x = inputs[0]
    axis = call.axis(layer.axis, x.ndim)
    find = jnp.argmax if layer.function == "argmax" else jnp.argmin
    if layer.select_last_index:
        position = x.shape[axis] - 1 - find(jnp.flip(x, axis), axis, keepdims=True)
    else:
        position = find(x, axis, keepdims=True)
    position = position.astype(jnp.int32)
    return OpResult((position if layer.keepdims else let_go(position, (layer.axis,), call),))


OPERATIONS.lacks("top_k", "NaN counts as the largest value; in the reference it comes last", special_values="always")


@OPERATIONS.register("top_k")
def top_k(layer: TopK, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``lax.top_k`` along the last axis; the smallest are the largest of the negatives.

    It orders -0 below 0, which are equal: zeros lose their sign first.
    """
    axis = call.axis(layer.axis, inputs[0].ndim)
    x = jnp.moveaxis(inputs[0], axis, -1)
    ordered = jnp.where(x == 0, jnp.zeros_like(x), x)
    _, positions = lax.top_k(ordered if layer.largest else -ordered, layer.k)
    values = jnp.take_along_axis(x, positions, axis=-1)
    return OpResult((jnp.moveaxis(values, -1, axis), jnp.moveaxis(positions.astype(jnp.int32), -1, axis)))
