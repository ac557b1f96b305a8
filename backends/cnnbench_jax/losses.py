"""Losses on optax."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import Array

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.losses import bound_loss
from cnnbench.execution.operations import Operations
from cnnbench.spec.layers import Shape
from cnnbench.spec.losses import CrossEntropy, Loss, MeanSquaredError

LossFunction = Callable[[Array, Array], Array]


def loss_function(loss: Loss, output: Shape, operations: Operations, options: ProgramOptions) -> LossFunction:
    """(main output of this shape, targets) -> the scalar, in float32 where the output is narrower.

    A loss without a counterpart (optax has no cross-entropy of images, channels first) is its layer on this backend's
    operations.
    """
    match loss:
        case CrossEntropy(label_smoothing=smoothing) if len(output) == 2:
            return lambda output, targets: _cross_entropy(_wide(output), targets, smoothing)
        case MeanSquaredError():
            return lambda output, targets: jnp.mean(optax.squared_error(_wide(output), _wide(targets)))
    bound = bound_loss(loss, output, operations, options)
    return lambda output, targets: bound(_wide(output), _wide(targets))


def _wide(x: Array) -> Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32)) if jnp.issubdtype(x.dtype, jnp.floating) else x


def _cross_entropy(logits: Array, targets: Array, smoothing: float) -> Array:
    if not smoothing:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, targets))
    labels = optax.smooth_labels(jax.nn.one_hot(targets, logits.shape[-1], dtype=logits.dtype), smoothing)
    return jnp.mean(optax.softmax_cross_entropy(logits, labels))
