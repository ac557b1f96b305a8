"""L-BFGS in TensorFlow's operations: (optimizer, variables, slots, gradients, rate), all weights together, in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cnnbench.spec.quasi_newton import CURVATURE, LimitedMemoryBFGS
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.optimizers import OPTIMIZERS

Pair = tuple[list[Any], list[Any]]


@OPTIMIZERS.register("lbfgs")
def lbfgs(
    optimizer: LimitedMemoryBFGS,
    variables: Sequence[Any],
    slots: Mapping[str, Sequence[Any]],
    gradients: Sequence[Any],
    rate: Any,
) -> None:
    """One step; neither TensorFlow nor Keras has such a rule.

    Args:
        optimizer: The rule's own fields.
        variables: All trained weights; overwritten.
        slots: By the specification's names, a variable a weight; overwritten.
        gradients: One a weight.
        rate: The learning rate, a scalar tensor in the slots' type.
    """
    if not variables:
        return
    gradients = [tf.cast(gradient, rate.dtype) for gradient in gradients]
    step, pairs, count = slots["step"][0].read_value(), *_pairs(optimizer, gradients, slots)
    size = tf.add_n([tf.reduce_sum(tf.abs(gradient)) for gradient in gradients])
    length = rate * tf.where(step > 0, tf.ones_like(size), 1 / tf.maximum(size, 1.0))
    change = [length * part for part in _direction(gradients, pairs, count)]
    after = {"gradient": gradients, "change": change}
    for rank, (s, y) in enumerate(pairs, 1):
        after |= {f"change_{rank}": s, f"moved_{rank}": y}
    for name, values in after.items():
        for variable, value in zip(slots[name], values, strict=True):
            variable.assign(value)
    for variable, part in zip(variables, change, strict=True):
        variable.assign(tf.cast(tf.cast(variable, rate.dtype) + part, variable.dtype))
    for name, value in (("step", step + 1), ("pairs", count)):
        for variable in slots[name]:
            variable.assign(tf.cast(value, variable.dtype))


def _pairs(
    optimizer: LimitedMemoryBFGS, gradients: Sequence[Any], slots: Mapping[str, Sequence[Any]]
) -> tuple[list[Pair], Any]:
    """The pairs with the newest first, and how many there are; the others are zeros."""
    read = {name: [variable.read_value() for variable in variables] for name, variables in slots.items()}
    held = [(read[f"change_{i}"], read[f"moved_{i}"]) for i in range(1, optimizer.history + 1)]
    moved = [new - old for new, old in zip(gradients, read["gradient"], strict=True)]
    kept = tf.logical_and(read["step"][0] > 0, _dot(moved, read["change"]) > CURVATURE)

    def chosen(new: list[Any], old: list[Any]) -> list[Any]:
        return [tf.where(kept, a, b) for a, b in zip(new, old, strict=True)]

    shifted = [(read["change"], moved), *held[:-1]]
    pairs = [(chosen(s, t), chosen(y, z)) for (s, y), (t, z) in zip(shifted, held, strict=True)]
    count = read["pairs"][0]
    return pairs, tf.minimum(count + tf.cast(kept, count.dtype), tf.cast(optimizer.history, count.dtype))


def _direction(gradients: Sequence[Any], pairs: list[Pair], count: Any) -> list[Any]:
    """-H g; a pair that there is not takes no part."""
    found, shares, inverses = [-gradient for gradient in gradients], [], []
    for rank, (change, moved) in enumerate(pairs):
        product = _dot(moved, change)
        there = tf.cast(count, tf.int64) > rank
        inverses.append(tf.where(there, 1 / tf.where(there, product, tf.ones_like(product)), tf.zeros_like(product)))
        shares.append(_dot(change, found) * inverses[-1])
        found = [part - shares[-1] * y for part, y in zip(found, moved, strict=True)]
    change, moved = pairs[0]
    product, square = _dot(moved, change), _dot(moved, moved)
    one, there = tf.ones_like(product), tf.cast(count, tf.int64) > 0
    scale = tf.where(there, product / tf.where(there, square, one), one)
    found = [scale * part for part in found]
    for (change, moved), inverse, share in zip(reversed(pairs), reversed(inverses), reversed(shares), strict=True):
        factor = share - _dot(moved, found) * inverse
        found = [part + factor * s for part, s in zip(found, change, strict=True)]
    return found


def _dot(first: Sequence[Any], second: Sequence[Any]) -> Any:
    return tf.add_n([tf.reduce_sum(a * b) for a, b in zip(first, second, strict=True)])
