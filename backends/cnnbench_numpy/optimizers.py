"""Optimiser updates of one weight: (optimizer, weight, gradient, slots, rate, decays) -> (weight, slots)."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from cnnbench.execution.optimizers import OptimizerRules
from cnnbench.spec.optimizers import SGD

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
