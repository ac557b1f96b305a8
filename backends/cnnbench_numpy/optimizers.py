"""Optimiser updates of one weight: (optimizer, weight, gradient, slots, rate, decays) -> (weight, slots)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.optimizers import OptimizerRules
from cnnbench.spec.clipping import Clipping
from cnnbench.spec.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop

Array = NDArray[Any]
Slots = dict[str, Array]
BLOCK = 2**20  # elements that an update takes at once

OPTIMIZERS = OptimizerRules("numpy", clips=True, accumulates=True)


@OPTIMIZERS.register("sgd")
def sgd(optimizer: SGD, weight: Array, gradient: Array, slots: Slots, rate: float, decays: bool) -> tuple[Array, Slots]:
    """g = gradient + decay w; m = momentum m + (1 - dampening) g; w - rate (g + momentum m if nesterov else m).

    Args:
        optimizer: The rule's own fields.
        weight: Of any shape.
        gradient: Of the weight's shape.
        slots: Of this weight, by the specification's names.
        rate: The learning rate.
        decays: Whether this weight decays.
    """
    if decays and optimizer.weight_decay:
        gradient = gradient + optimizer.weight_decay * weight
    if not optimizer.momentum:
        return weight - rate * gradient, {}
    damped = optimizer.dampening and (optimizer.damp_first or slots["started"])
    momentum = optimizer.momentum * slots["momentum"] + (gradient * (1 - optimizer.dampening) if damped else gradient)
    direction = gradient + optimizer.momentum * momentum if optimizer.nesterov else momentum
    return weight - rate * direction, {"momentum": momentum, **{name: np.asarray(1) for name in optimizer.counters}}


@OPTIMIZERS.register("adam")
@OPTIMIZERS.register("adamw")
def adam(
    optimizer: Adam | AdamW, weight: Array, gradient: Array, slots: Slots, rate: float, decays: bool
) -> tuple[Array, Slots]:
    """The specification as it stands; c1 and c2 are float64 numbers."""
    step = int(slots["step"]) + 1
    decay = optimizer.weight_decay if decays else 0.0
    if decay and not optimizer.decoupled:
        gradient = gradient + decay * weight
    mean = optimizer.beta1 * slots["mean"] + (1 - optimizer.beta1) * gradient
    square = optimizer.beta2 * slots["square"] + (1 - optimizer.beta2) * gradient * gradient
    first, second = (
        (1 - beta**step) if optimizer.bias_correction else 1.0 for beta in (optimizer.beta1, optimizer.beta2)
    )
    if optimizer.epsilon_place == "inside":
        divisor = np.sqrt(square / second + optimizer.epsilon)
    else:
        epsilon = optimizer.epsilon / (math.sqrt(second) if optimizer.epsilon_place == "uncorrected" else 1.0)
        divisor = np.sqrt(square / second) + epsilon
    move = mean / first / divisor
    if decay and optimizer.decoupled:
        move = move + decay * weight
    return weight - rate * move, {"mean": mean, "square": square, "step": np.asarray(step)}


@OPTIMIZERS.register("rmsprop")
def rmsprop(
    optimizer: RMSprop, weight: Array, gradient: Array, slots: Slots, rate: float, decays: bool
) -> tuple[Array, Slots]:
    """g over the root of its running mean square, about its running mean where centred; then momentum."""
    if decays and optimizer.weight_decay:
        gradient = gradient + optimizer.weight_decay * weight
    kept, new = optimizer.smoothing, 1 - optimizer.smoothing
    after = {"square": kept * slots["square"] + new * gradient * gradient}
    spread = after["square"]
    if optimizer.centered:
        after["mean"] = kept * slots["mean"] + new * gradient
        spread = spread - after["mean"] * after["mean"]
    move = gradient / _root(spread, optimizer)
    if optimizer.momentum:
        move = after["momentum"] = optimizer.momentum * slots["momentum"] + move
    return weight - rate * move, after


@OPTIMIZERS.register("adagrad")
def adagrad(
    optimizer: Adagrad, weight: Array, gradient: Array, slots: Slots, rate: float, decays: bool
) -> tuple[Array, Slots]:
    """g over the root of the sum of its squares."""
    if decays and optimizer.weight_decay:
        gradient = gradient + optimizer.weight_decay * weight
    total = slots["sum"] + gradient * gradient
    return weight - rate * (gradient / _root(total, optimizer)), {"sum": total}


def by_block(
    update: Callable[[Array, Array, Slots], tuple[Array, Slots]], weight: Array, gradient: Array, slots: Slots
) -> tuple[Array, Slots]:
    """One weight and its slots after an update, which is element by element: a large one's block by block.

    Args:
        update: (weight, gradient, slots) -> (weight, slots), of any part of them.
        weight: Of any shape.
        gradient: Of the weight's shape.
        slots: Of this weight.
    """
    if weight.size <= BLOCK or not weight.flags.c_contiguous:
        return update(weight, gradient, slots)
    own = {slot: array.reshape(-1) for slot, array in slots.items() if array.shape == weight.shape}
    after, left = np.empty_like(weight), {slot: np.empty_like(slots[slot]) for slot in own}
    flat, new, others = gradient.reshape(-1), after.reshape(-1), {}
    for start in range(0, weight.size, BLOCK):
        block = slice(start, start + BLOCK)
        parts = {slot: own[slot][block] if slot in own else array for slot, array in slots.items()}
        new[block], found = update(weight.reshape(-1)[block], flat[block], parts)
        for slot, array in found.items():
            if slot in own:
                left[slot].reshape(-1)[block] = array
            else:
                others[slot] = array
    return after, {**left, **others}


def _root(square: Array, optimizer: RMSprop | Adagrad) -> Array:
    if optimizer.epsilon_place == "inside":
        return np.asarray(np.sqrt(square + optimizer.epsilon))
    return np.asarray(np.sqrt(square) + optimizer.epsilon)


def clip(
    clipping: Clipping, weights: Sequence[Array], gradients: Sequence[Array], units: Sequence[tuple[int, ...] | None]
) -> list[Array]:
    """The gradients of all trained weights, clipped.

    Args:
        clipping: How.
        weights: As they are before the step.
        gradients: One a weight.
        units: ``clipped_units``.
    """
    limit, floor = clipping.limit, clipping.floor
    if clipping.kind == "value":
        return [np.clip(gradient, -limit, limit) for gradient in gradients]
    if clipping.kind == "adaptive":
        pairs = zip(weights, gradients, units, strict=True)
        return [g if axes is None else _clip_units(clipping, w, g, axes) for w, g, axes in pairs]
    norms = [_norm(gradient, None) for gradient in gradients]
    if clipping.kind == "global_norm":
        norms = [_norm(np.array(norms), None)] * len(norms)
    shares = [limit / np.maximum(limit, norm + floor) for norm in norms]
    return [gradient * gradient.dtype.type(share) for gradient, share in zip(gradients, shares, strict=True)]


def _clip_units(clipping: Clipping, weight: Array, gradient: Array, axes: tuple[int, ...]) -> Array:
    most = clipping.limit * np.maximum(_norm(weight, axes), clipping.floor)
    return np.asarray(gradient * (most / np.maximum(most, _norm(gradient, axes))).astype(gradient.dtype))


def _norm(array: Array, axes: tuple[int, ...] | None) -> Array:
    """The Euclidean norm over these axes, which stay with a length of 1, in float64."""
    squares = np.square(array, dtype=np.float64)
    return np.asarray(np.sqrt(squares.sum() if axes is None else squares.sum(axis=axes, keepdims=True)))
