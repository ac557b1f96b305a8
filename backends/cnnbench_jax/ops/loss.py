"""Losses in ``jax.numpy``."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.loss import NLLLoss, StopGradient
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


@OPERATIONS.register("stop_gradient")
def stop_gradient(layer: StopGradient, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``lax.stop_gradient``."""
    return OpResult((lax.stop_gradient(inputs[0]),))


@OPERATIONS.register("nll_loss")
def nll_loss(layer: NLLLoss, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``take_along_axis`` of the target's value, in float32 where scores are narrower."""
    x = inputs[0].astype(jnp.promote_types(inputs[0].dtype, jnp.float32))
    target, classes, e = inputs[1], inputs[0].shape[1], layer.label_smoothing
    w = lax.stop_gradient(inputs[2].astype(x.dtype)) if len(inputs) == 3 else jnp.ones(classes, x.dtype)
    counts = jnp.ones(target.shape, bool) if layer.ignore_index is None else target != layer.ignore_index
    chosen = jnp.where(counts, target, 0)
    own = jnp.where(counts, w[chosen], 0)
    value = -(1 - e) * own * jnp.take_along_axis(x, chosen[:, None], 1)[:, 0]
    if e:
        total = jax.numpy.moveaxis(x, 1, -1) @ w
        value = value - jnp.where(counts, total * (e / classes), 0)
    if layer.reduction != "none":
        value = value.sum()
    if layer.reduction == "mean":
        value = value / own.sum()
    return OpResult((value.astype(inputs[0].dtype),))
