"""The losses of the specification, as TensorFlow's own functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.losses import bound_loss
from cnnbench.execution.operations import Operations
from cnnbench.spec.layers import Shape
from cnnbench.spec.losses import CrossEntropy, Loss, MeanSquaredError
from cnnbench_tensorflow.framework import tf, wide

LossFunction = Callable[[Any, Any], Any]


def target_dtype(loss: Loss | None, dtype: Any) -> Any:
    """The type of ``targets``: class indices, or values of the program's own type."""
    return tf.int64 if loss is not None and loss.int_targets else dtype


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


def loss_function(loss: Loss, output: Shape, operations: Operations, options: ProgramOptions) -> LossFunction:
    """(main output of this shape, targets) -> the scalar, in float32 where the program's type is narrower.

    A loss without a counterpart (TensorFlow's cross-entropy is of the last axis) is its layer on this backend's
    operations.
    """
    if isinstance(loss, CrossEntropy) and len(output) == 2:
        return lambda output, targets: cross_entropy(loss, wide(output), targets)
    if isinstance(loss, MeanSquaredError):
        return lambda output, targets: mean_squared_error(loss, wide(output), wide(targets))
    bound = bound_loss(loss, output, operations, options)
    return lambda output, targets: bound(wide(output), wide(targets))
