"""Optimisers on TensorFlow's update ops: (optimizer, variable, slots, gradient, rate, decays), all in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnnbench.execution.optimizers import OptimizerRules
from cnnbench.spec.optimizers import SGD
from cnnbench_tensorflow.framework import tf

OPTIMIZERS = OptimizerRules("tensorflow")


@OPTIMIZERS.register("sgd")
def sgd(optimizer: SGD, variable: Any, slots: Mapping[str, Any], gradient: Any, rate: Any, decays: bool) -> None:
    """One step by ``ResourceApplyMomentum``, whose accumulator leaves the rate out as the specification does."""
    if optimizer.weight_decay and decays:
        gradient = gradient + optimizer.weight_decay * variable
    if not optimizer.momentum:
        tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)
        return
    tf.raw_ops.ResourceApplyMomentum(
        var=variable.handle,
        accum=slots["momentum"].handle,
        lr=rate,
        grad=gradient,
        momentum=tf.constant(optimizer.momentum, variable.dtype),
        use_nesterov=optimizer.nesterov,
    )
