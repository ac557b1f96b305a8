"""Optimiser updates of one weight."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from numpy.typing import NDArray

from cnnbench.errors import UnavailableError
from cnnbench.spec.optimizers import SGD, Optimizer

Array = NDArray[Any]
Slots = dict[str, Array]


@singledispatch
def update(
    optimizer: Optimizer, weight: Array, gradient: Array, slots: Slots, rate: float, decays: bool
) -> tuple[Array, Slots]:
    """The weight and its slots after one step of learning rate ``rate``; nothing is changed in place."""
    raise UnavailableError(f"backend 'numpy' does not implement the optimizer {optimizer.kind!r}")


@update.register
def sgd(optimizer: SGD, weight: Array, gradient: Array, slots: Slots, rate: float, decays: bool) -> tuple[Array, Slots]:
    """g = gradient + decay w; m = momentum m + g; w - rate (g + momentum m if nesterov else m)."""
    if decays and optimizer.weight_decay:
        gradient = gradient + optimizer.weight_decay * weight
    if not optimizer.momentum:
        return weight - rate * gradient, {}
    if not optimizer.momentum:
        return weight - rate * gradient, {}
    momentum = optimizer.momentum * slots["momentum"] + gradient
    direction = gradient + optimizer.momentum * momentum if optimizer.nesterov else momentum
    return weight - rate * direction, {"momentum": momentum}
