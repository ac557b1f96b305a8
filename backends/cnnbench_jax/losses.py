"""Losses on optax."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import Array

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.losses import LossFunctions, bound_loss
from cnnbench.execution.operations import Operations
from cnnbench.spec.layers import Shape
from cnnbench.spec.losses import CrossEntropy, Loss, MeanSquaredError

LossFunction = Callable[[Array, Array], Array]

LOSSES = LossFunctions()


def loss_function(loss: Loss, output: Shape, operations: Operations, options: ProgramOptions) -> LossFunction:
    """(main output of this shape, targets) -> the scalar, in float32 where the output is narrower.

    A loss without a function here is its layer on ``operations``.
    """
    function = LOSSES.find(loss, output) or bound_loss(loss, output, operations, options)
    return lambda output, targets: function(_wide(output), _wide(targets))


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


def _wide(x: Array) -> Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32)) if jnp.issubdtype(x.dtype, jnp.floating) else x
