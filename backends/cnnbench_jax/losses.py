"""Losses on optax."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jax import Array

from cnnbench.execution.losses import LossFunctions
from cnnbench.spec.losses import CrossEntropy, MeanSquaredError


def _wide(x: Array) -> Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32)) if jnp.issubdtype(x.dtype, jnp.floating) else x


LOSSES = LossFunctions(widen=_wide)


@LOSSES.register("cross_entropy", rank=2)
def cross_entropy(loss: CrossEntropy, output: Array, targets: Array) -> Array:
    """optax has none of images, channels first."""
    if not loss.label_smoothing:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(output, targets))
    one_hot = jax.nn.one_hot(targets, output.shape[-1], dtype=output.dtype)
    labels = optax.smooth_labels(one_hot, loss.label_smoothing)
    return jnp.mean(optax.softmax_cross_entropy(output, labels))


@LOSSES.register("mean_squared_error")
def mean_squared_error(loss: MeanSquaredError, output: Array, targets: Array) -> Array:
    """Mean of ``optax.squared_error``."""
    return jnp.mean(optax.squared_error(output, targets))
