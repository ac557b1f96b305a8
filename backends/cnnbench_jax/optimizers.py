"""Optimisers on optax, with slots under the names of the spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import jax.numpy as jnp
import optax
from jax import Array

from cnnbench.errors import UnavailableError
from cnnbench.spec.optimizers import SGD, Optimizer

Slots = Mapping[str, Sequence[Array]]
Update = Callable[[list[Array], list[Array], Slots, Array], tuple[list[Array], dict[str, list[Array]]]]


def make_update(optimizer: Optimizer, decays: Sequence[bool]) -> Update:
    """(weights, gradients, slots, rate) -> (weights, slots).

    ``add_decayed_weights`` and ``trace`` follow the spec's convention: decay is coupled, and the rate is outside of
    the momentum. The rate stays an operand, so that a schedule compiles nothing anew.
    """
    if not isinstance(optimizer, SGD):
        raise UnavailableError(f"backend 'jax' does not implement the optimizer {optimizer.kind!r}")
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


def zero_slots(optimizer: Optimizer, weights: Sequence[Array]) -> dict[str, list[Array]]:
    """The slots at the start of training."""
    return {slot: [jnp.zeros_like(weight) for weight in weights] for slot in optimizer.slots}
