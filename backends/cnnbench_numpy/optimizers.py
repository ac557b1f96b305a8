"""Optimiser updates of one weight: (optimizer, weight, gradient, slots, rate, decays) -> (weight, slots)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.optimizers import OptimizerRules
from cnnbench.spec.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop

Array = NDArray[Any]
Slots = dict[str, Array]

OPTIMIZERS = OptimizerRules("numpy")


@OPTIMIZERS.register("sgd")
def sgd(optimizer: SGD, weight: Array, gradient: Array, slots: Slots, rate: float, decays: bool) -> tuple[Array, Slots]:
    """g = gradient + decay w; m = momentum m + g; w - rate (g + momentum m if nesterov else m)."""
    if decays and optimizer.weight_decay:
        gradient = gradient + optimizer.weight_decay * weight
    if not optimizer.momentum:
        return weight - rate * gradient, {}
    momentum = optimizer.momentum * slots["momentum"] + gradient
    direction = gradient + optimizer.momentum * momentum if optimizer.nesterov else momentum
    return weight - rate * direction, {"momentum": momentum}


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


def _root(square: Array, optimizer: RMSprop | Adagrad) -> Array:
    if optimizer.epsilon_place == "inside":
        return np.asarray(np.sqrt(square + optimizer.epsilon))
    return np.asarray(np.sqrt(square) + optimizer.epsilon)
