"""Optimisers on optax: (optimizer, decays) -> a function (weights, gradients, slots, rate) -> (weights, slots)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import optax
from jax import Array

from cnnbench.execution.optimizers import OptimizerRules
from cnnbench.spec.clipping import Clipping
from cnnbench.spec.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop

Slots = Mapping[str, Sequence[Array]]
Update = Callable[[list[Array], list[Array], Slots, Array], tuple[list[Array], dict[str, list[Array]]]]


OPTIMIZERS = OptimizerRules("jax", clips=True, accumulates=True)


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
            if optimizer.dampening:
                directions = [
                    _damped(optimizer, *each) for each in zip(directions, _started(slots, directions), strict=True)
                ]
            directions, trace = momentum.update(directions, optax.TraceState(trace=list(slots["momentum"])))
            after = {"momentum": trace.trace, **{n: [jnp.ones_like(s) for s in slots[n]] for n in optimizer.counters}}
        moves = [-rate * direction.astype(rate.dtype) for direction in directions]
        return optax.apply_updates(weights, moves), after

    return update


def _started(slots: Slots, directions: Sequence[Array]) -> Sequence[Array | int]:
    """For each weight whether it has taken a step; 1 where the first step is as the others."""
    return slots.get("started", [1] * len(directions))


def _damped(optimizer: SGD, direction: Array, started: Array | int) -> Array:
    return direction * jnp.where(started, 1 - optimizer.dampening, 1.0).astype(direction.dtype)


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


@OPTIMIZERS.register("rmsprop")
def rmsprop(optimizer: RMSprop, decays: Sequence[bool]) -> Update:
    """``optax.scale_by_rms`` or ``scale_by_stddev``, and ``trace``, so that the rate is outside of the momentum."""
    inside = optimizer.epsilon_place == "inside"
    scaling = optax.scale_by_stddev if optimizer.centered else optax.scale_by_rms
    scale = scaling(optimizer.smoothing, optimizer.epsilon, eps_in_sqrt=inside)
    momentum = optax.trace(optimizer.momentum)

    def move(gradients: list[Array], slots: Slots) -> tuple[list[Array], dict[str, list[Array]]]:
        given = {"nu": list(slots["square"])} | ({"mu": list(slots["mean"])} if optimizer.centered else {})
        moves, state = scale.update(gradients, scale.init(gradients)._replace(**given))
        after = {"square": state.nu} | ({"mean": state.mu} if optimizer.centered else {})
        if optimizer.momentum:
            moves, trace = momentum.update(moves, optax.TraceState(trace=list(slots["momentum"])))
            after["momentum"] = trace.trace
        return moves, after

    return _decayed(optimizer.weight_decay, decays, move)


@OPTIMIZERS.register("adagrad")
def adagrad(optimizer: Adagrad, decays: Sequence[bool]) -> Update:
    """``optax.scale_by_rss`` where epsilon stands inside of the root, as it does there."""
    scale = optax.scale_by_rss(optimizer.initial, optimizer.epsilon)

    def move(gradients: list[Array], slots: Slots) -> tuple[list[Array], dict[str, list[Array]]]:
        if optimizer.epsilon_place == "inside":
            state = scale.init(gradients)._replace(sum_of_squares=list(slots["sum"]))
            moves, state = scale.update(gradients, state)
            return moves, {"sum": state.sum_of_squares}
        sums = [total + g * g for total, g in zip(slots["sum"], gradients, strict=True)]
        moves = [g / (jnp.sqrt(total) + optimizer.epsilon) for total, g in zip(sums, gradients, strict=True)]
        return moves, {"sum": sums}

    return _decayed(optimizer.weight_decay, decays, move)


def _decayed(weight_decay: float, decays: Sequence[bool], move: Callable[..., Any]) -> Update:
    """An update with coupled decay, in the slots' type.

    Args:
        weight_decay: The L2 coefficient.
        decays: For each weight, whether it decays.
        move: (gradients, slots) -> what the rate multiplies, and the slots after.
    """
    decay = optax.add_decayed_weights(weight_decay, mask=list(decays))

    def update(
        weights: list[Array], gradients: list[Array], slots: Slots, rate: Array
    ) -> tuple[list[Array], dict[str, list[Array]]]:
        wide = [weight.astype(rate.dtype) for weight in weights]
        moves, _ = decay.update([gradient.astype(rate.dtype) for gradient in gradients], decay.init(wide), wide)
        moves, after = move(moves, slots)
        moved = optax.apply_updates(wide, [-rate * each for each in moves])
        return [new.astype(weight.dtype) for new, weight in zip(moved, weights, strict=True)], after

    return update


def clip(
    clipping: Clipping, weights: list[Array], gradients: list[Array], units: Sequence[tuple[int, ...] | None]
) -> list[Array]:
    """The gradients of all trained weights, clipped; norms are never narrower than float32.

    ``optax.clip_by_global_norm`` has no epsilon, and ``optax.adaptive_grad_clip`` takes the last axis for units.

    Args:
        clipping: How.
        weights: As they are before the step.
        gradients: One a weight.
        units: ``clipped_units``.
    """
    limit = clipping.limit
    if clipping.kind == "value":
        found: list[Array] = optax.clip(limit).update(gradients, optax.EmptyState())[0]
        return found
    if clipping.kind == "adaptive":
        pairs = zip(weights, gradients, units, strict=True)
        return [g if axes is None else _clip_units(clipping, w, g, axes) for w, g, axes in pairs]
    wide = [gradient.astype(jnp.promote_types(gradient.dtype, jnp.float32)) for gradient in gradients]
    norms = [optax.tree.norm(gradient) for gradient in wide]
    if clipping.kind == "global_norm":
        norms = [optax.tree.norm(wide)] * len(norms)
    shares = [limit / jnp.maximum(limit, norm + clipping.floor) for norm in norms]
    return [g * share.astype(g.dtype) for g, share in zip(gradients, shares, strict=True)]


def _clip_units(clipping: Clipping, weight: Array, gradient: Array, axes: tuple[int, ...]) -> Array:
    wide = jnp.promote_types(gradient.dtype, jnp.float32)
    sizes = [jnp.sqrt(jnp.sum(a.astype(wide) ** 2, axis=axes, keepdims=True)) for a in (weight, gradient)]
    most = clipping.limit * jnp.maximum(sizes[0], clipping.floor)
    return gradient * (most / jnp.maximum(most, sizes[1])).astype(gradient.dtype)
