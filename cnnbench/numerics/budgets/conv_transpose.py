"""Budgets of transposed convolutions: the sums of products of a convolution with its two sides exchanged."""

from __future__ import annotations

import math

from cnnbench.numerics.budgets.base import (
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    exact_on_integers,
    forward_formula,
    gradient_formula,
    sum_of_products,
)
from cnnbench.numerics.budgets.conv import product_gradients, rounded_sums, squared
from cnnbench.numerics.budgets.shared import channel_axes, of_added
from cnnbench.numerics.hard_operands import hard_operands, scaled
from cnnbench.numerics.reference import LayerCall
from cnnbench.spec.layers.conv_transpose import ConvTranspose

hard_operands("conv_transpose")(scaled)


exact_on_integers("conv_transpose")


def _layer(call: LayerCall) -> ConvTranspose:
    if not isinstance(call.layer, ConvTranspose):
        raise TypeError(f"{call.layer.kind} is not a transposed convolution")
    return call.layer


def products_per_output(call: LayerCall) -> int:
    """K: the channels of a group times the most taps that meet one output, and one for the bias."""
    layer = _layer(call)
    taps = layer.taps()
    meeting = math.prod(
        -(-k // s) if d == 1 else k for k, s, d in zip(taps.kernel_size, taps.stride, taps.dilation, strict=True)
    )
    return int(call.inputs[0].shape[1]) // layer.groups * meeting + int(layer.bias)


@forward_formula("conv_transpose")
def conv_transpose(setting: Setting) -> ForwardBudget:
    """K = C/G times the taps that meet one output, S = what |x| and |w| lay there, and |b|."""
    u, call = setting.u, setting.call
    squares = setting.reference.forward(squared(call)).outputs[0] if u.operand else None
    rounded = rounded_sums(setting.values.outputs[0], call.weights, 1)
    magnitude = setting.magnitudes()[0]
    budget = sum_of_products(magnitude, products_per_output(call), u, rounded=rounded, squares=squares)
    y = setting.values.outputs[0]
    return ForwardBudget((budget,), shared=of_added(y, channel_axes(y.ndim), u) if len(call.weights) > 1 else ())


@gradient_formula("conv_transpose")
def conv_transpose_gradient(setting: GradientSetting) -> GradientBudget:
    """dx sums over output channels and all taps; dw over images and input positions, db over output positions."""
    layer = _layer(setting.call)
    per_input = layer.out_channels // layer.groups * math.prod(layer.taps().kernel_size)
    positions = max(math.prod(setting.call.inputs[0].shape[2:]), math.prod(setting.cotangents[0].shape[2:]))
    return product_gradients(setting, per_input, setting.cotangents[0].shape[0] * positions)
