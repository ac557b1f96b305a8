"""The update of one weight."""

from __future__ import annotations

from cnnbench.errors import UnavailableError
from cnnbench.spec.optimizers import SGD


def update(rule, weight, gradient, slots, rate, decays):
    """The weight and its slots after a step."""
    if not isinstance(rule, SGD):
        raise UnavailableError(f"backend 'indexed' does not have the optimizer {rule.kind!r}")
    if decays and rule.weight_decay:
        gradient = gradient + rule.weight_decay * weight
    if not rule.momentum:
        return weight - rate * gradient, {}
    momentum = rule.momentum * slots["momentum"] + gradient
    step = gradient + rule.momentum * momentum if rule.nesterov else momentum
    return weight - rate * step, {"momentum": momentum}
