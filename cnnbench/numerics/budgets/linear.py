"""Budgets of matrix products."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from cnnbench.numerics.budgets.base import (
    Budget,
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
from cnnbench.numerics.budgets.shared import of_added
from cnnbench.numerics.hard_operands import hard_operands, of_moderate_size, scaled
from cnnbench.numerics.reference import LayerCall

hard_operands("linear")(scaled)
hard_operands("matmul", "radial_basis")(of_moderate_size)


@forward_formula("linear")
def linear(setting: Setting) -> ForwardBudget:
    """K = I products and the bias, S = |x| |W|^T + |b|."""
    u, call = setting.u, setting.call
    squares = setting.reference.forward(squared(call)).outputs[0] if u.operand else None
    output = setting.values.outputs[0]
    rounded = rounded_sums(output, call.weights, output.ndim - 1)
    count = call.inputs[0].shape[-1] + len(call.weights) - 1
    budget = sum_of_products(setting.magnitudes()[0], count, u, rounded=rounded, squares=squares)
    y = setting.values.outputs[0]
    shared = of_added(y, tuple(range(y.ndim - 1)), u) if len(call.weights) > 1 else ()
    return ForwardBudget((budget,), shared=shared)


@gradient_formula("linear")
def linear_gradient(setting: GradientSetting) -> GradientBudget:
    """dx sums over outputs; dW and db over all leading positions."""
    rows = math.prod(setting.cotangents[0].shape[:-1])
    return product_gradients(setting, setting.layer.out_features, rows)


exact_on_integers("matmul")


@forward_formula("matmul")
def matmul(setting: Setting) -> ForwardBudget:
    """K products, S = |A| |B|."""
    u, call = setting.u, setting.call
    squares = setting.reference.forward(squared(call)).outputs[0] if u.operand else None
    count = call.inputs[0].shape[-2 if setting.layer.transpose_a else -1]
    rounded = np.abs(setting.values.outputs[0])
    return ForwardBudget((sum_of_products(setting.magnitudes()[0], count, u, rounded=rounded, squares=squares),))


@gradient_formula("matmul")
def matmul_gradient(setting: GradientSetting) -> GradientBudget:
    """dA sums over the columns of B, dB over the rows of A, and each over the leading axes along which it repeats."""
    u, call, g = setting.u, setting.call, setting.cotangents[0]
    magnitudes = setting.gradient_magnitudes()
    squares = None
    if u.operand:
        squares = setting.reference.gradient(squared(call), tuple(map(np.square, setting.cotangents)))
    images = math.prod(g.shape[:-2])
    budgets = []
    for i, (x, terms) in enumerate(zip(call.inputs, (g.shape[-1], g.shape[-2]), strict=True)):
        repeats = images // max(math.prod(x.shape[:-2]), 1)
        value = np.abs(setting.gradients.inputs[i])
        rounded = value if repeats == 1 else value + magnitudes.inputs[i]  # each product may be stored before its sum
        square = squares.inputs[i] if squares else None
        budgets.append(sum_of_products(magnitudes.inputs[i], terms * repeats, u, rounded=rounded, squares=square))
    return GradientBudget(tuple(budgets))


def _apart(call: LayerCall) -> LayerCall:
    """Operands for which (x - w)^2 is (|x| + |w|)^2 of the call's."""
    return replace(call, inputs=(-np.abs(call.inputs[0]),), weights=(np.abs(call.weights[0]),))


@forward_formula("radial_basis")
def radial_basis(setting: Setting) -> ForwardBudget:
    """S = sum (|x| + |w|)^2, which also admits |x|^2 - 2 x w + |w|^2; K = I products with two roundings more."""
    u, call = setting.u, setting.call
    magnitude = np.abs(setting.reference.forward(_apart(call)).outputs[0])
    rounded = np.abs(setting.values.outputs[0]) + 3 * magnitude  # each square may be stored before it is summed
    squares = (magnitude**2 / call.inputs[0].shape[-1]) if u.operand else None
    count = call.inputs[0].shape[-1] + 3
    return ForwardBudget((sum_of_products(magnitude, count, u, rounded=rounded, squares=squares),))


@gradient_formula("radial_basis")
def radial_basis_gradient(setting: GradientSetting) -> GradientBudget:
    """dx = 2 sum_o dy (x - w) and dw = -2 sum_n dy (x - w), each with S on |x| + |w|."""
    u = setting.u
    magnitudes = setting.gradient_magnitudes(_apart(setting.call))
    counts = (setting.layer.out_features + 3, setting.call.inputs[0].shape[0] + 3)

    def budget(value: np.ndarray, magnitude: np.ndarray, count: int) -> Budget:
        size = np.abs(magnitude)
        return sum_of_products(size, count, u, rounded=np.abs(value) + 3 * size, squares=size**2 if u.operand else None)

    weight, size = setting.gradients.weights[0], magnitudes.weights[0]
    return GradientBudget(
        (budget(setting.gradients.inputs[0], magnitudes.inputs[0], counts[0]),),
        (None if weight is None or size is None else budget(weight, size, counts[1]),),
    )
