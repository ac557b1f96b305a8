"""Losses of scores that are logarithms already, for which TensorFlow has no function of its own."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.loss import NLLLoss, StopGradient
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


@OPERATIONS.register("stop_gradient")
def stop_gradient(layer: StopGradient, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.stop_gradient``."""
    return OpResult((tf.stop_gradient(inputs[0]),))


@OPERATIONS.register("nll_loss")
def nll_loss(layer: NLLLoss, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The product with a one-hot target, in float32 where scores are narrower; no target is out of range."""
    x = tf.cast(inputs[0], tf.float32) if inputs[0].dtype in (tf.bfloat16, tf.float16) else inputs[0]
    target, classes, e = inputs[1], x.shape[1], layer.label_smoothing
    w = tf.stop_gradient(tf.cast(inputs[2], x.dtype)) if len(inputs) == 3 else tf.ones(classes, x.dtype)
    counts = tf.fill(target.shape, True) if layer.ignore_index is None else target != layer.ignore_index
    chosen = tf.where(counts, target, tf.zeros_like(target))
    own = tf.where(counts, tf.gather(w, chosen), tf.zeros((), x.dtype))
    last = tf.transpose(x, (0, *range(2, x.shape.rank), 1))
    value = -(1 - e) * own * tf.gather(last, chosen, batch_dims=target.shape.rank)
    if e:
        total = tf.reduce_sum(last * w, -1) * (e / classes)
        value = value - tf.where(counts, total, tf.zeros_like(total))
    if layer.reduction != "none":
        value = tf.reduce_sum(value)
    if layer.reduction == "mean":
        value = value / tf.reduce_sum(own)
    return OpResult((tf.cast(value, inputs[0].dtype),))
