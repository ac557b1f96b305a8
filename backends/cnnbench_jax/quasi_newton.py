"""L-BFGS in jax.numpy: the form of an update that ``optimizers`` has, of all weights together."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

from cnnbench.spec.quasi_newton import CURVATURE, LimitedMemoryBFGS
from cnnbench_jax.optimizers import OPTIMIZERS, Slots, Update

Pair = tuple[list[Array], list[Array]]


@OPTIMIZERS.register("lbfgs")
def lbfgs(optimizer: LimitedMemoryBFGS, decays: Sequence[bool]) -> Update:
    """Written out: ``optax.scale_by_lbfgs`` keeps a pair whatever its curvature, and has another first step.

    Args:
        optimizer: The rule's own fields.
        decays: Unused: the rule has no weight decay.
    """

    def update(
        weights: list[Array], gradients: list[Array], slots: Slots, rate: Array
    ) -> tuple[list[Array], dict[str, list[Array]]]:
        if not weights:
            return weights, {name: list(arrays) for name, arrays in slots.items()}
        gradients = [gradient.astype(rate.dtype) for gradient in gradients]
        pairs, count = _pairs(optimizer, gradients, slots)
        size = sum(jnp.sum(jnp.abs(gradient)) for gradient in gradients)
        step = slots["step"][0]
        length = rate * jnp.where(step > 0, 1.0, 1 / jnp.maximum(size, 1.0)).astype(rate.dtype)
        change = [length * part for part in _direction(gradients, pairs, count)]
        after = {"gradient": gradients, "change": change}
        for rank, (s, y) in enumerate(pairs, 1):
            after |= {f"change_{rank}": s, f"moved_{rank}": y}
        after |= {"step": [old + 1 for old in slots["step"]]}
        after |= {"pairs": [count.astype(old.dtype) for old in slots["pairs"]]}
        moved = [weight.astype(rate.dtype) + part for weight, part in zip(weights, change, strict=True)]
        return [new.astype(weight.dtype) for new, weight in zip(moved, weights, strict=True)], after

    return update


def _pairs(optimizer: LimitedMemoryBFGS, gradients: list[Array], slots: Slots) -> tuple[list[Pair], Array]:
    """The pairs with the newest first, and how many there are; the others are zeros."""
    held = [(list(slots[f"change_{i}"]), list(slots[f"moved_{i}"])) for i in range(1, optimizer.history + 1)]
    change = list(slots["change"])
    moved = [new - old for new, old in zip(gradients, slots["gradient"], strict=True)]
    kept = (slots["step"][0] > 0) & (_dot(moved, change) > CURVATURE)

    def chosen(new: list[Array], old: list[Array]) -> list[Array]:
        return [jnp.where(kept, a, b) for a, b in zip(new, old, strict=True)]

    shifted = [(change, moved), *held[:-1]]
    pairs = [(chosen(s, t), chosen(y, z)) for (s, y), (t, z) in zip(shifted, held, strict=True)]
    return pairs, jnp.minimum(slots["pairs"][0] + kept, optimizer.history)


def _direction(gradients: list[Array], pairs: list[Pair], count: Array) -> list[Array]:
    """-H g; a pair that there is not takes no part."""
    found, shares = [-gradient for gradient in gradients], []
    inverses = [jnp.where(i < count, 1 / jnp.where(i < count, _dot(y, s), 1.0), 0.0) for i, (s, y) in enumerate(pairs)]
    for (change, moved), inverse in zip(pairs, inverses, strict=True):
        shares.append(_dot(change, found) * inverse)
        found = [part - shares[-1] * y for part, y in zip(found, moved, strict=True)]
    change, moved = pairs[0]
    square = jnp.where(count > 0, _dot(moved, moved), 1.0)
    scale = jnp.where(count > 0, _dot(moved, change) / square, 1.0)
    found = [scale * part for part in found]
    for (change, moved), inverse, share in zip(reversed(pairs), reversed(inverses), reversed(shares), strict=True):
        factor = share - _dot(moved, found) * inverse
        found = [part + factor * s for part, s in zip(found, change, strict=True)]
    return found


def _dot(first: Sequence[Array], second: Sequence[Array]) -> Array:
    total = jnp.zeros((), first[0].dtype)
    for a, b in zip(first, second, strict=True):
        total = total + jnp.sum(a * b)
    return total
