"""The optimisers of the specification, as TensorFlow's own update ops on variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cnnbench.errors import UnavailableError
from cnnbench.spec.optimizers import SGD, Optimizer
from cnnbench_tensorflow.framework import tf


def apply_sgd(optimizer: SGD, variable: Any, slots: Mapping[str, Any], gradient: Any, rate: Any, decays: bool) -> None:
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


UPDATES: dict[str, Callable[[Any, Any, Mapping[str, Any], Any, Any, bool], None]] = {SGD.kind: apply_sgd}


def update_rule(optimizer: Optimizer) -> Callable[[Any, Any, Mapping[str, Any], Any, Any, bool], None]:
    """The function that updates a variable and its slots; raises UnavailableError where there is none."""
    try:
        return UPDATES[optimizer.kind]
    except KeyError:
        raise UnavailableError(f"backend 'tensorflow' does not implement optimizer {optimizer.kind!r}") from None
