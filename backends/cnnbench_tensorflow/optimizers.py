"""Optimisers on TensorFlow's update ops: (optimizer, variable, slots, gradient, rate, decays), all in place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cnnbench.execution.optimizers import OptimizerRules
from cnnbench.spec.clipping import Clipping
from cnnbench.spec.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from cnnbench_tensorflow.framework import tf

OPTIMIZERS = OptimizerRules("tensorflow", clips=True, accumulates=True)


@OPTIMIZERS.register("sgd")
def sgd(optimizer: SGD, variable: Any, slots: Mapping[str, Any], gradient: Any, rate: Any, decays: bool) -> None:
    """One step by ``ResourceApplyMomentum``, whose accumulator leaves the rate out as the specification does.

    Args:
        optimizer: The rule's own fields.
        variable: The weight; overwritten.
        slots: Variables of this weight, by the specification's names; overwritten.
        gradient: Of the weight's shape.
        rate: The learning rate, a scalar tensor.
        decays: Whether this weight decays.
    """
    if optimizer.weight_decay and decays:
        gradient = gradient + optimizer.weight_decay * variable
    if not optimizer.momentum:
        tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)
        return
    if optimizer.dampening:
        share = tf.constant(1 - optimizer.dampening, gradient.dtype)
        if not optimizer.damp_first:
            share = tf.where(slots["started"] > 0, share, tf.ones_like(share))
        gradient = gradient * share
    for name in optimizer.counters:
        slots[name].assign(tf.ones_like(slots[name]))
    tf.raw_ops.ResourceApplyMomentum(
        var=variable.handle,
        accum=slots["momentum"].handle,
        lr=rate,
        grad=gradient,
        momentum=tf.constant(optimizer.momentum, variable.dtype),
        use_nesterov=optimizer.nesterov,
    )


@OPTIMIZERS.register("adam")
@OPTIMIZERS.register("adamw")
def adam(
    optimizer: Adam | AdamW, variable: Any, slots: Mapping[str, Any], gradient: Any, rate: Any, decays: bool
) -> None:
    """The specification in TensorFlow's operations, in the slots' type.

    ``ResourceApplyAdam`` is not used: it makes 1 - beta2, and 1 - beta2^t, of two numbers of the weight's type, and
    that is wrong by 1.3e-5 of itself for 0.999 in float32. Keras' Adam makes 1 - beta2^t so, too.
    """
    dtype = slots["mean"].dtype
    weight, gradient, rate = tf.cast(variable, dtype), tf.cast(gradient, dtype), tf.cast(rate, dtype)
    decay = optimizer.weight_decay if decays else 0.0
    if decay and not optimizer.decoupled:
        gradient = gradient + decay * weight
    step = tf.cast(slots["step"].assign_add(1), tf.float64)
    first, second = (tf.cast(_correction(optimizer, beta, step), dtype) for beta in (optimizer.beta1, optimizer.beta2))
    mean = slots["mean"].assign(optimizer.beta1 * slots["mean"] + (1 - optimizer.beta1) * gradient)
    square = slots["square"].assign(optimizer.beta2 * slots["square"] + (1 - optimizer.beta2) * gradient * gradient)
    if optimizer.epsilon_place == "inside":
        divisor = tf.sqrt(square / second + optimizer.epsilon)
    else:
        epsilon = optimizer.epsilon / (tf.sqrt(second) if optimizer.epsilon_place == "uncorrected" else 1.0)
        divisor = tf.sqrt(square / second) + epsilon
    move = mean / first / divisor
    if decay and optimizer.decoupled:
        move = move + decay * weight
    variable.assign(tf.cast(weight - rate * move, variable.dtype))


def _correction(optimizer: Adam, beta: float, step: Any) -> Any:
    """1 - beta^step as a float64 number."""
    if not optimizer.bias_correction or not beta:
        return tf.constant(1.0, tf.float64)
    return -tf.math.expm1(step * math.log(beta))


@OPTIMIZERS.register("rmsprop")
def rmsprop(
    optimizer: RMSprop, variable: Any, slots: Mapping[str, Any], gradient: Any, rate: Any, decays: bool
) -> None:
    """Written out: ``ResourceApplyRMSProp`` has the rate in the momentum, and epsilon in the root."""
    weight, gradient, rate = _widened(optimizer, variable, slots["square"].dtype, gradient, rate, decays)
    kept, new = optimizer.smoothing, 1 - optimizer.smoothing
    spread = slots["square"].assign(kept * slots["square"] + new * gradient * gradient)
    if optimizer.centered:
        mean = slots["mean"].assign(kept * slots["mean"] + new * gradient)
        spread = spread - mean * mean
    move = gradient / _root(spread, optimizer)
    if optimizer.momentum:
        move = slots["momentum"].assign(optimizer.momentum * slots["momentum"] + move)
    variable.assign(tf.cast(weight - rate * move, variable.dtype))


@OPTIMIZERS.register("adagrad")
def adagrad(
    optimizer: Adagrad, variable: Any, slots: Mapping[str, Any], gradient: Any, rate: Any, decays: bool
) -> None:
    """``ResourceApplyAdagradV2`` where epsilon is outside of the root and weights are as wide as slots."""
    total = slots["sum"]
    weight, gradient, rate = _widened(optimizer, variable, total.dtype, gradient, rate, decays)
    if optimizer.epsilon_place == "outside" and variable.dtype == total.dtype:
        epsilon = tf.constant(optimizer.epsilon, total.dtype)
        tf.raw_ops.ResourceApplyAdagradV2(
            var=variable.handle, accum=total.handle, lr=rate, epsilon=epsilon, grad=gradient
        )
        return
    square = total.assign(total + gradient * gradient)
    variable.assign(tf.cast(weight - rate * (gradient / _root(square, optimizer)), variable.dtype))


def update_all(
    optimizer: Optimizer,
    variables: Sequence[Any],
    slots: Mapping[str, Sequence[Any]],
    gradients: Sequence[Any],
    rate: Any,
    decaying: Sequence[bool],
) -> None:
    """One step of every variable, each by itself or all together.

    Args:
        optimizer: The rule of the specification.
        variables: All that are trained; overwritten.
        slots: By name, a variable a weight; overwritten.
        gradients: One a weight.
        rate: The learning rate, a scalar tensor.
        decaying: Whether each weight decays.
    """
    rule = OPTIMIZERS.rule(optimizer)
    if optimizer.joint:
        rule(optimizer, variables, slots, gradients, rate)
        return
    for order, (variable, gradient) in enumerate(zip(variables, gradients, strict=True)):
        own = {slot: held[order] for slot, held in slots.items()}
        rule(optimizer, variable, own, gradient, rate, decaying[order])


def _widened(
    optimizer: RMSprop | Adagrad, variable: Any, dtype: Any, gradient: Any, rate: Any, decays: bool
) -> tuple[Any, Any, Any]:
    """The weight, its gradient with coupled decay, and the rate, in the slots' type."""
    weight, gradient, rate = tf.cast(variable, dtype), tf.cast(gradient, dtype), tf.cast(rate, dtype)
    if decays and optimizer.weight_decay:
        gradient = gradient + optimizer.weight_decay * weight
    return weight, gradient, rate


def _root(square: Any, optimizer: RMSprop | Adagrad) -> Any:
    if optimizer.epsilon_place == "inside":
        return tf.sqrt(square + optimizer.epsilon)
    return tf.sqrt(square) + optimizer.epsilon


def clip(
    clipping: Clipping, weights: Sequence[Any], gradients: Sequence[Any], units: Sequence[tuple[int, ...] | None]
) -> list[Any]:
    """The gradients of all trained weights, clipped; norms are never narrower than float32.

    ``tf.clip_by_global_norm`` and ``tf.clip_by_norm`` have no epsilon.

    Args:
        clipping: How.
        weights: As they are before the step.
        gradients: One a weight.
        units: ``clipped_units``.
    """
    if clipping.kind == "value":
        return [tf.clip_by_value(gradient, -clipping.limit, clipping.limit) for gradient in gradients]
    if clipping.kind == "adaptive":
        pairs = zip(weights, gradients, units, strict=True)
        return [g if axes is None else _clip_units(clipping, w, g, axes) for w, g, axes in pairs]
    wide = [_wide(gradient) for gradient in gradients]
    norms = [tf.norm(gradient) for gradient in wide]
    if clipping.kind == "global_norm":
        norms = [tf.linalg.global_norm(wide)] * len(norms)
    shares = [clipping.limit / tf.maximum(norm + clipping.floor, clipping.limit) for norm in norms]
    return [g * tf.cast(share, g.dtype) for g, share in zip(gradients, shares, strict=True)]


def _clip_units(clipping: Clipping, weight: Any, gradient: Any, axes: tuple[int, ...]) -> Any:
    sizes = [tf.sqrt(tf.reduce_sum(tf.square(_wide(a)), axis=axes, keepdims=True)) for a in (weight, gradient)]
    most = clipping.limit * tf.maximum(sizes[0], clipping.floor)
    return gradient * tf.cast(most / tf.maximum(most, sizes[1]), gradient.dtype)


def _wide(array: Any) -> Any:
    return tf.cast(array, tf.float64 if array.dtype == tf.float64 else tf.float32)
