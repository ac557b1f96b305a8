"""Optimisers on optax: (optimizer, decays) -> a function (weights, gradients, slots, rate) -> (weights, slots)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import optax
from jax import Array

from cnnbench.execution.optimizers import OptimizerRules
from cnnbench.spec.optimizers import SGD

Slots = Mapping[str, Sequence[Array]]
Update = Callable[[list[Array], list[Array], Slots, Array], tuple[list[Array], dict[str, list[Array]]]]


OPTIMIZERS = OptimizerRules("jax")


@OPTIMIZERS.register("sgd")
def sgd(optimizer: SGD, decays: Sequence[bool]) -> Update:
    """``add_decayed_weights`` and ``trace`` follow the spec: decay is coupled, and the rate is outside of the momentum.

    The rate stays an operand, so that a schedule compiles nothing anew.
    """
    decay = optax.add_decayed_weights(optimizer.weight_decay, mask=list(decays))
    momentum = optax.trace(optimizer.momentum, nesterov=optimizer.nesterov)

    def update(
        weights: list[Array], gradients: list[Array], slots: Slots, rate: Array
    ) -> tuple[list[Array], dict[str, list[Array]]]:
        directions, _ = decay.update(gradients, decay.init(weights), weights)
        after: dict[str, list[Array]] = {}
        if optimizer.momentum:
            directions, trace = momentum.update(directions, optax.TraceState(trace=list(slots["momentum"])))
            after = {"momentum": trace.trace}
        moves = [-rate * direction.astype(rate.dtype) for direction in directions]
        return optax.apply_updates(weights, moves), after

    return update
