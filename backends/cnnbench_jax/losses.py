"""Losses on optax."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import Array

from cnnbench.errors import UnavailableError
from cnnbench.spec.losses import CrossEntropy, Loss, MeanSquaredError

LossFunction = Callable[[Array, Array], Array]


def loss_function(loss: Loss) -> LossFunction:
    """(main output, targets) -> the scalar, in float32 where the output is narrower.

    Raises UnavailableError for a loss without a counterpart.
    """
    match loss:
        case CrossEntropy(label_smoothing=smoothing):
            return lambda output, targets: _cross_entropy(_wide(output), targets, smoothing)
        case MeanSquaredError():
            return lambda output, targets: jnp.mean(optax.squared_error(_wide(output), _wide(targets)))
    raise UnavailableError(f"backend 'jax' does not implement the loss {loss.kind!r}")


def _wide(x: Array) -> Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _cross_entropy(logits: Array, targets: Array, smoothing: float) -> Array:
    if not smoothing:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, targets))
    labels = optax.smooth_labels(jax.nn.one_hot(targets, logits.shape[-1], dtype=logits.dtype), smoothing)
    return jnp.mean(optax.softmax_cross_entropy(logits, labels))
