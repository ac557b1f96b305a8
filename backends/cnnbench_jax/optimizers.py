"""Optimisers on optax: (optimizer, decays) -> a function (weights, gradients, slots, rate) -> (weights, slots)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import optax
from jax import Array

from cnnbench.execution.optimizers import OptimizerRules
from cnnbench.spec.optimizers import SGD, Adam, AdamW

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


@OPTIMIZERS.register("adam")
@OPTIMIZERS.register("adamw")
def adam(optimizer: Adam | AdamW, decays: Sequence[bool]) -> Update:
    """optax' moments and decay, and a bias correction of our own.

    ``optax.scale_by_adam`` takes 1 - beta2^t of two float32 numbers: at t = 1 and 0.999 it is wrong by 1.3e-5.
    """
    decay = optax.add_decayed_weights(optimizer.weight_decay, mask=list(decays))

    def update(
        weights: list[Array], gradients: list[Array], slots: Slots, rate: Array
    ) -> tuple[list[Array], dict[str, list[Array]]]:
        wide = [weight.astype(rate.dtype) for weight in weights]
        moves = [gradient.astype(rate.dtype) for gradient in gradients]
        if not optimizer.decoupled:
            moves, _ = decay.update(moves, decay.init(wide), wide)
        steps = [step + 1 for step in slots["step"]]
        means = optax.tree.update_moment(moves, list(slots["mean"]), optimizer.beta1, 1)
        squares = optax.tree.update_moment_per_elem_norm(moves, list(slots["square"]), optimizer.beta2, 2)
        moves = [_adam_move(optimizer, *each) for each in zip(means, squares, steps, strict=True)]
        if optimizer.decoupled:
            moves, _ = decay.update(moves, decay.init(wide), wide)
        moved = optax.apply_updates(wide, [-rate * move for move in moves])
        after = [new.astype(weight.dtype) for new, weight in zip(moved, weights, strict=True)]
        return after, {"mean": means, "square": squares, "step": steps}

    return update


def _adam_move(optimizer: Adam, mean: Array, square: Array, step: Array) -> Array:
    """What the rate multiplies, of one weight."""
    first, second = (_correction(optimizer, beta, step, mean.dtype) for beta in (optimizer.beta1, optimizer.beta2))
    if optimizer.epsilon_place == "inside":
        return mean / first / jnp.sqrt(square / second + optimizer.epsilon)
    epsilon = optimizer.epsilon / (jnp.sqrt(second) if optimizer.epsilon_place == "uncorrected" else 1.0)
    return mean / first / (jnp.sqrt(square / second) + epsilon)


def _correction(optimizer: Adam, beta: float, step: Array, dtype: Any) -> Array:
    """1 - beta^step without cancellation."""
    if not optimizer.bias_correction or not beta:
        return jnp.ones((), dtype)
    return -jnp.expm1(step.astype(dtype) * math.log(beta))
