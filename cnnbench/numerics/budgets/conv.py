"""Budgets of convolutions: sums of products over channels and taps, and over positions for the weights' gradients."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.blocks import blocks, flat
from cnnbench.numerics.budgets import winograd
from cnnbench.numerics.budgets.base import (
    Budget,
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    forward_formula,
    gradient_formula,
    sum_of_products,
)
from cnnbench.numerics.budgets.moments import with_drift
from cnnbench.numerics.budgets.shared import channel_axes, of_added
from cnnbench.numerics.hard_operands import hard_operands, scaled
from cnnbench.numerics.reference import LayerCall
from cnnbench.spec.layers import Conv, PartialConv

Array = NDArray[Any]

hard_operands("conv", "partial_conv")(scaled)


def _convolution(call: LayerCall) -> Conv | PartialConv:
    if not isinstance(call.layer, Conv | PartialConv):
        raise TypeError(f"{call.layer.kind} is not a convolution")
    return call.layer


def products_per_output(call: LayerCall) -> int:
    """K: the products that are summed into one output, and one for the bias."""
    layer = _convolution(call)
    taps = math.prod(layer.window().kernel_size)
    if isinstance(layer, Conv):
        channels = int(call.inputs[0].shape[1]) // layer.groups
        return channels * taps + int(layer.bias)
    return max(map(len, layer.connections)) * taps + 1


def products_per_input(call: LayerCall) -> int:
    """The largest number of outputs that read one input: output channels of its group times the taps that meet it."""
    layer = _convolution(call)
    window = layer.window()
    meeting = math.prod(
        -(-k // s) if d == 1 else k for k, s, d in zip(window.kernel_size, window.stride, window.dilation, strict=True)
    )
    channels = layer.out_channels // layer.groups if isinstance(layer, Conv) else len(layer.connections)
    return channels * meeting


def rounded_sums(outputs: Array, weights: tuple[Array, ...], channel_axis: int) -> Array:
    """|y| + |y - b|: an implementation that stores the sum before it adds the bias rounds twice.

    Args:
        outputs: y.
        weights: The layer's; b is the second, where there are two.
        channel_axis: Along which b lies.
    """
    if len(weights) < 2:
        return np.asarray(np.abs(outputs))
    shape = [1] * outputs.ndim
    shape[channel_axis] = -1
    return np.asarray(np.abs(outputs) + np.abs(outputs - weights[1].reshape(shape)))


def squared(call: LayerCall) -> LayerCall:
    """The call on squared inputs and weights."""
    return replace(call, inputs=tuple(map(np.square, call.inputs)), weights=tuple(map(np.square, call.weights)))


@forward_formula("conv", "partial_conv")
def conv(setting: Setting) -> ForwardBudget:
    """K = C/G prod(kernel) products, S = |x| * |w| + |b|; where the policy admits Winograd, the wider of both."""
    u, call = setting.u, setting.call
    squares = setting.reference.forward(squared(call)).outputs[0] if u.operand else None
    rounded = rounded_sums(setting.values.outputs[0], call.weights, 1)
    magnitude = setting.magnitudes()[0]
    budget = sum_of_products(magnitude, products_per_output(call), u, rounded=rounded, squares=squares)
    form = winograd.form_of(setting)
    if form is not None:
        budget = Budget(*map(np.maximum, budget, winograd.convolution(setting, form, rounded)))
    biased = len(call.weights) > 1
    y = setting.values.outputs[0]
    return ForwardBudget((budget,), shared=of_added(y, channel_axes(y.ndim), u) if biased else ())


def product_gradients(setting: GradientSetting, per_input: int, per_weight: int) -> GradientBudget:
    """The budgets of both gradients of a bilinear layer; a bias sums ``per_weight`` cotangents, which may be alike.

    Args:
        setting: The call with its cotangents and exact gradients.
        per_input: How many products are summed into an input's gradient.
        per_weight: How many products are summed into a weight's gradient.
    """
    u = setting.u
    magnitudes = setting.gradient_magnitudes()
    squares = None
    if u.operand:
        squares = setting.reference.gradient(squared(setting.call), tuple(map(np.square, setting.cotangents)))

    def budget(value: Array, magnitude: Array, count: int, square: Array | None) -> Budget:
        """Block by block, in float32 as budgets are kept: each array of a large layer's weights is a gigabyte."""
        sharp, worst = np.empty(value.shape, np.float32), np.empty(value.shape, np.float32)
        values, sizes = flat(value, value.shape), flat(magnitude, value.shape)
        terms = None if square is None else flat(square, value.shape)
        for block in blocks(value.size):
            part = None if terms is None else terms[block]
            found = sum_of_products(sizes[block], count, u, rounded=np.abs(values[block]), squares=part)
            with np.errstate(over="ignore"):
                sharp.reshape(-1)[block], worst.reshape(-1)[block] = found.sharp, found.worst
        return Budget(sharp, worst)

    inputs = (
        budget(setting.gradients.inputs[0], magnitudes.inputs[0], per_input, squares.inputs[0] if squares else None),
    )
    weights = tuple(
        None
        if value is None or magnitude is None
        else budget(value, magnitude, per_weight, squares.weights[i] if squares and i == 0 else None)
        for i, (value, magnitude) in enumerate(zip(setting.gradients.weights, magnitudes.weights, strict=True))
    )
    g = setting.cotangents[0]
    axes = tuple(range(g.ndim - 1)) if setting.layer.kind == "linear" else channel_axes(g.ndim)
    biases = (None if size is None else with_drift(size, g, axes, u) for size in weights[1:])
    return GradientBudget(inputs, (*weights[:1], *biases))


@gradient_formula("conv", "partial_conv")
def conv_gradient(setting: GradientSetting) -> GradientBudget:
    """dx sums over output channels and taps; dw and db over images and positions."""
    positions = setting.cotangents[0].shape[0] * math.prod(setting.cotangents[0].shape[2:])
    return product_gradients(setting, products_per_input(setting.call), positions)
