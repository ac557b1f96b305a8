"""The update of one weight: (optimizer, weight, gradient, slots, rate, decays) -> (weight, slots)."""

from __future__ import annotations

from cnnbench.execution.optimizers import OptimizerRules

OPTIMIZERS = OptimizerRules("indexed")


@OPTIMIZERS.register("sgd")
def sgd(optimizer, weight, gradient, slots, rate, decays):
    """Momentum leaves the rate out; decay is coupled."""
    if decays and optimizer.weight_decay:
        gradient = gradient + optimizer.weight_decay * weight
    if not optimizer.momentum:
        return weight - rate * gradient, {}
    momentum = optimizer.momentum * slots["momentum"] + gradient
    step = gradient + optimizer.momentum * momentum if optimizer.nesterov else momentum
    return weight - rate * step, {"momentum": momentum}
