"""The losses of the specification, as TensorFlow's own functions."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.losses import LossFunctions
from cnnbench.spec.losses import CrossEntropy, MeanSquaredError
from cnnbench_tensorflow.framework import tf, wide

LOSSES = LossFunctions(widen=wide)


@LOSSES.register("cross_entropy", rank=2)
def cross_entropy(loss: CrossEntropy, output: Any, targets: Any) -> Any:
    """TensorFlow's own, which is of the last axis; smoothed targets are given as probabilities."""
    if loss.label_smoothing == 0.0:
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=output))
    classes = output.shape[-1]
    e = loss.label_smoothing
    soft = (1.0 - e) * tf.one_hot(targets, classes, dtype=output.dtype) + e / classes
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=soft, logits=output))


@LOSSES.register("mean_squared_error")
def mean_squared_error(loss: MeanSquaredError, output: Any, targets: Any) -> Any:
    """Mean of squared differences."""
    return tf.reduce_mean(tf.square(output - targets))
