"""Budgets of convolutions with a standardised weight: the convolution's own, and what the weight's error adds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.base import (
    Budget,
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    both,
    forward_formula,
    gradient_formula,
)
from cnnbench.numerics.budgets.conv import conv, conv_gradient
from cnnbench.numerics.budgets.shared import channel_axes, of_rows
from cnnbench.numerics.hard_operands import Hardness, hard_operands, scaled
from cnnbench.numerics.reference import LayerCall
from cnnbench.numerics.rounding import gamma, sharp_factor

Array = NDArray[Any]

Factor = Any  # c(n, u): the sharp factor or gamma


@hard_operands("scaled_ws_conv")
def hard_filters(call: LayerCall, hard: Hardness) -> LayerCall:
    """Filters far from 0 beside their deviation, around epsilon, alike in all weights, large, and ordinary."""
    weight, size = call.weights[0], math.prod(call.weights[0].shape[1:])
    near = np.sqrt(call.layer.fields()["eps"] / size)
    patterns = (
        lambda rows: min(300.0, hard.square) + hard.normal(rows),
        lambda rows: 0.1 * near * hard.normal(rows),
        lambda rows: 10 * near * hard.normal(rows),
        lambda rows: np.full(rows, 0.1),
        lambda rows: hard.cube * hard.normal(rows),
        lambda rows: hard.normal(rows),
    )
    filters = hard.rows(weight.shape, tuple(range(1, weight.ndim)), patterns)
    return replace(scaled(call, hard), weights=(filters, *call.weights[1:]))


def _finite(c: Factor) -> Factor:
    """gamma is infinite where K u reaches 1, as in bfloat16; infinity times a padded zero would be NaN."""
    return lambda count, u: min(c(count, u), 1e6)


class _Standardization:
    """w^ = g n, n = (w - m) r, r = 1 / sqrt(D) for each output channel, and the errors to first order.

    dm = c(K) mean|w| + u |m|;  dv = (c(K + 2) + c(4)) v + dm^2;  dr = r (dv (dD/dv) / (2 D) + c(4));
    dn = r (dm + few u (|w| + |m|)) + |w - m| dr.
    """

    def __init__(self, setting: Setting) -> None:
        layer, weights = setting.layer, setting.call.weights
        self.u, self.weight = setting.u, weights[0]
        self.axes = tuple(range(1, self.weight.ndim))
        self.count = math.prod(self.weight.shape[1:])
        self.mean = self.average(self.weight)
        self.deviation = self.weight - self.mean
        self.variance = self.average(np.square(self.deviation))
        if layer.form == "scaled":
            self.square = np.maximum(self.count * self.variance, layer.eps)
            self.slope = self.count * (self.count * self.variance > layer.eps)
        else:
            scale = self.count if layer.form == "scaled_sum" else 1
            self.square, self.slope = scale * (self.variance + layer.eps), scale * np.ones_like(self.variance)
        self.inverse = 1 / np.sqrt(self.square)
        self.normal = self.deviation * self.inverse
        self.gain = weights[-1].reshape(self.mean.shape) if layer.gain else np.ones_like(self.mean)
        self.plain = LayerCall(layer.plain(), setting.call.inputs, (self.gain * self.normal, *self._bias(setting)))

    def _bias(self, setting: Setting) -> tuple[Array, ...]:
        return setting.call.weights[1 : 1 + int(setting.layer.bias)]

    def average(self, values: Array) -> Array:
        """Over the weights of an output channel."""
        return np.asarray(values.mean(axis=self.axes, keepdims=True))

    def inverse_error(self, c: Factor) -> Array:
        """dr."""
        relative = c(self.count + 2, self.u.accumulated) + c(4, self.u.stored)
        variance_error = relative * self.variance + self.mean_error(c) ** 2
        return np.asarray(self.inverse * (variance_error * self.slope / (2 * self.square) + c(4, self.u.stored)))

    def mean_error(self, c: Factor) -> Array:
        """dm."""
        size = self.average(np.abs(self.weight))
        return np.asarray(c(self.count, self.u.accumulated) * size + c(1, self.u.stored) * np.abs(self.mean))

    def normal_error(self, c: Factor) -> Array:
        """dn."""
        subtraction = c(3, self.u.stored) * (np.abs(self.weight) + np.abs(self.mean))
        centred = self.inverse * (self.mean_error(c) + subtraction)
        return np.asarray(centred + np.abs(self.deviation) * self.inverse_error(c))

    def weight_error(self, c: Factor) -> Array:
        """dw^ = |g| dn + few u |w^|."""
        return np.asarray(np.abs(self.gain) * (self.normal_error(c) + c(4, self.u.stored) * np.abs(self.normal)))

    def moved(self, error: Array) -> LayerCall:
        """The convolution of |x| with the weight's error, without a bias."""
        return replace(self.plain_by(error), inputs=tuple(map(np.abs, self.plain.inputs)))

    def plain_by(self, weight: Array) -> LayerCall:
        """The convolution of x with another weight, without a bias."""
        none = tuple(np.zeros_like(bias) for bias in self.plain.weights[1:])
        return replace(self.plain, weights=(np.broadcast_to(weight, self.weight.shape), *none))


def _sum(first: Budget, second: Budget) -> Budget:
    return Budget(first.sharp + second.sharp, first.worst + second.worst)


@forward_formula("scaled_ws_conv")
def scaled_ws_conv(setting: Setting) -> ForwardBudget:
    """The budget of ``conv`` by w^, and |x| * dw^."""
    made = _Standardization(setting)
    plain = conv(replace(setting, call=made.plain))
    own = plain.outputs[0]
    weights = both(lambda c: setting.reference.forward(made.moved(made.weight_error(_finite(c)))).outputs[0])
    errors = (made.inverse * made.mean_error(sharp_factor), made.deviation * made.inverse_error(sharp_factor))
    patterns = (setting.reference.forward(made.plain_by(made.gain * error)).outputs[0] for error in errors)
    shared = of_rows(channel_axes(own.sharp.ndim), *patterns)
    return ForwardBudget((_sum(own, weights),), shared=(*plain.shared, *shared))


@gradient_formula("scaled_ws_conv")
def scaled_ws_conv_gradient(setting: GradientSetting) -> GradientBudget:
    """dx, db as ``conv`` with |dy| * dw^; the error e of d w^ and those of n, r pass through the chain to dw, dgain."""
    made = _Standardization(setting)
    gradients = setting.reference.gradient(made.plain, setting.cotangents)
    own = conv_gradient(replace(setting, call=made.plain, gradients=gradients))
    sizes = tuple(map(np.abs, setting.cotangents))
    inputs = both(lambda c: setting.reference.gradient(made.moved(made.weight_error(_finite(c))), sizes).inputs[0])
    d_made, d_made_budget, d_input = gradients.weights[0], own.weights[0], own.inputs[0]
    if d_made is None or d_made_budget is None or d_input is None:
        raise TypeError("a convolution's weight and input have gradients")
    chain = _Chain(made, d_made)
    sharp = chain.errors(d_made_budget.sharp, _finite(sharp_factor))
    worst = chain.errors(d_made_budget.worst, _finite(gamma))
    weight, gain = (Budget(*pair) for pair in zip(sharp, worst, strict=True))
    return GradientBudget(
        (_sum(d_input, inputs),), (weight, *own.weights[1:], *((gain,) if setting.layer.gain else ()))
    )


class _Chain:
    """dw = r (a - mean a - (dD/dv) mean(a n) n) with a = g dw^, and dgain = sum dw^ n."""

    def __init__(self, made: _Standardization, d_made: Array) -> None:
        self.made, self.d_made = made, d_made
        self.scaled = d_made * made.gain
        self.along = made.average(self.scaled * made.normal)
        self.inner = self.scaled - made.average(self.scaled) - made.slope * self.along * made.normal

    def errors(self, error: Array, c: Factor) -> tuple[Array, Array]:
        """Of dw and of dgain, from that of dw^."""
        made, u = self.made, self.made.u
        normal, moved = np.abs(made.normal), made.normal_error(c)
        size = np.abs(self.scaled)
        summing, rounding = c(made.count, u.accumulated), c(6, u.stored)
        scaled = np.abs(made.gain) * error + c(1, u.stored) * size
        centred = scaled + made.average(scaled) + summing * made.average(size)
        along = made.average(scaled * normal + size * moved + summing * size * normal)
        along = along + rounding * np.abs(self.along)
        inner = centred + made.slope * (normal * along + np.abs(self.along) * moved)
        inner = inner + rounding * (size + made.average(size) + made.slope * np.abs(self.along) * normal)
        weight = made.inverse * inner + np.abs(self.inner) * made.inverse_error(c)
        products = np.abs(self.d_made) * normal
        gain = error * normal + np.abs(self.d_made) * moved + (summing + rounding) * products
        return weight + 8 * u.smallest, gain.sum(axis=made.axes) + made.count * u.smallest
