"""Budgets of layers that move values: none but for flushed denormals, and for sums where a value was copied."""

from __future__ import annotations

import numpy as np

from cnnbench.numerics.budgets.base import (
    Budget,
    GradientBudget,
    GradientSetting,
    exact,
    exact_on_integers,
    forward_formula,
    gradient_formula,
    sum_of_products,
)
from cnnbench.numerics.budgets.exact import exact_gradients, exact_outputs

exact_on_integers("flatten", "reshape", "transpose", "squeeze", "unsqueeze", "tile")
exact_on_integers("expand", when=lambda layer, inputs: len(inputs) == 1 or inputs[1][0] > 0)

forward_formula("flatten", "reshape", "transpose", "squeeze", "unsqueeze", "tile", "expand")(exact_outputs)
gradient_formula("flatten", "reshape", "transpose", "squeeze", "unsqueeze")(exact_gradients)


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
