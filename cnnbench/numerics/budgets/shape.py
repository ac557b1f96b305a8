"""Budgets of layers that move values: none but for flushed denormals, and for sums where a value was copied."""

from __future__ import annotations

import math

import numpy as np

from cnnbench.numerics.budgets.base import (
    Budget,
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    exact,
    exact_on_integers,
    forward_formula,
    gradient_formula,
    sum_of_products,
)
from cnnbench.numerics.rounding import to_storage

exact_on_integers("flatten", "reshape", "transpose", "squeeze", "unsqueeze", "tile")
exact_on_integers("expand", when=lambda layer, inputs: len(inputs) == 1 or inputs[1][0] > 0)
exact_on_integers("pad", when=lambda layer, inputs: layer.mode != "constant" or layer.value % 1 == 0)


@forward_formula("flatten", "reshape", "transpose", "squeeze", "unsqueeze", "tile", "expand")
def moved(setting: Setting) -> ForwardBudget:
    """Values are moved, not computed."""
    return ForwardBudget((exact(setting.u),) * len(setting.values.outputs))


@gradient_formula("flatten", "reshape", "transpose", "squeeze", "unsqueeze")
def moved_gradient(setting: GradientSetting) -> GradientBudget:
    """Values are moved, not computed."""
    return GradientBudget((exact(setting.u),))


@forward_formula("pad")
def pad(setting: Setting) -> ForwardBudget:
    """Values are moved; a constant that the storage type does not hold is rounded."""
    value = np.asarray(setting.layer.value)
    lost = abs(float(to_storage(value, setting.policy)) - float(value))
    floor = np.asarray(setting.u.smallest + 2 * lost)
    return ForwardBudget((Budget(floor, floor),))


@gradient_formula("pad")
def pad_gradient(setting: GradientSetting) -> GradientBudget:
    """Moved where the border is a constant; else at most 3 copies an axis of one value (edge: all of its border)."""
    if setting.layer.mode == "constant":
        return GradientBudget((exact(setting.u),))
    most = [1 + max(pair) if setting.layer.mode == "edge" else 3 for pair in setting.layer.padding if any(pair)]
    return GradientBudget((copies_gradient(setting, 2 * math.prod(most)),))


@gradient_formula("tile", "expand")
def copied_gradient(setting: GradientSetting) -> GradientBudget:
    """The sum over a value's copies; nothing for the input that only gives its batch size."""
    count = setting.cotangents[0].size // max(setting.call.inputs[0].size, 1)
    rest = (exact(setting.u),) * (len(setting.call.inputs) - 1)
    return GradientBudget((copies_gradient(setting, count), *rest))


def copies_gradient(setting: GradientSetting, count: int) -> Budget:
    """The budget of a gradient that sums at most ``count`` cotangents, each as it is."""
    magnitude = setting.gradient_magnitudes(setting.call).inputs[0]
    rounded = np.abs(setting.gradients.inputs[0])
    return sum_of_products(magnitude, count, setting.u, rounded=rounded, squares=None)
