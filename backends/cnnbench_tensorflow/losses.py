"""The losses of the specification, as TensorFlow's own functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnbench.errors import UnavailableError
from cnnbench.spec.losses import CrossEntropy, Loss, MeanSquaredError
from cnnbench_tensorflow.framework import tf, wide


def target_dtype(loss: Loss | None, dtype: Any) -> Any:
    """The type of ``targets``: class indices, or values of the program's own type."""
    return tf.int64 if isinstance(loss, CrossEntropy) else dtype


def cross_entropy(loss: CrossEntropy, logits: Any, targets: Any) -> Any:
    """Mean of -sum_k q_k log softmax(logits)_k with smoothed targets q."""
    if loss.label_smoothing == 0.0:
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits))
    classes = logits.shape[-1]
    e = loss.label_smoothing
    soft = (1.0 - e) * tf.one_hot(targets, classes, dtype=logits.dtype) + e / classes
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=soft, logits=logits))


def mean_squared_error(loss: MeanSquaredError, output: Any, targets: Any) -> Any:
    """Mean of squared differences."""
    return tf.reduce_mean(tf.square(output - targets))


LOSSES: dict[str, Callable[[Any, Any, Any], Any]] = {
    CrossEntropy.kind: cross_entropy,
    MeanSquaredError.kind: mean_squared_error,
}


def loss_value(loss: Loss, output: Any, targets: Any) -> Any:
    """The loss of a program's main output; in float32 where the program's type is narrower."""
    if loss.kind not in LOSSES:
        raise UnavailableError(f"backend 'tensorflow' does not implement loss {loss.kind!r}")
    return LOSSES[loss.kind](loss, wide(output), wide(targets) if targets.dtype.is_floating else targets)
