"""The losses of the specification, as TensorFlow's own functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.losses import LossFunctions, bound_loss
from cnnbench.execution.operations import Operations
from cnnbench.spec.layers import Shape
from cnnbench.spec.losses import CrossEntropy, Loss, MeanSquaredError
from cnnbench_tensorflow.framework import tf, wide

LossFunction = Callable[[Any, Any], Any]

LOSSES = LossFunctions()


def loss_function(loss: Loss, output: Shape, operations: Operations, options: ProgramOptions) -> LossFunction:
    """(main output of this shape, targets) -> the scalar, in float32 where the program's type is narrower.

    A loss without a function here is its layer on ``operations``.
    """
    function = LOSSES.find(loss, output) or bound_loss(loss, output, operations, options)
    return lambda output, targets: function(wide(output), wide(targets))


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
