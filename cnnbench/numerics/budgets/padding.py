"""Budgets of padding: values are moved, a constant is stored, and copies are summed in the gradient."""

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
)
from cnnbench.numerics.budgets.shape import copies_gradient
from cnnbench.numerics.rounding import to_storage

exact_on_integers("pad", when=lambda layer, inputs: layer.mode != "constant" or layer.constant % 1 == 0)


@forward_formula("pad")
def pad(setting: Setting) -> ForwardBudget:
    """Values are moved; a constant that the storage type does not hold is rounded."""
    value = setting.layer.constant
    lost = abs(float(to_storage(np.asarray(value), setting.policy)) - value) if math.isfinite(value) else 0.0
    floor = np.asarray(setting.u.smallest + 2 * lost)
    return ForwardBudget((Budget(floor, floor),))


@gradient_formula("pad")
def pad_gradient(setting: GradientSetting) -> GradientBudget:
    """Moved where the border is a constant; else at most 3 copies an axis of one value (edge: all of its border)."""
    if setting.layer.mode == "constant":
        return GradientBudget((exact(setting.u),))
    most = [1 + max(pair) if setting.layer.mode == "edge" else 3 for pair in setting.layer.padding if any(pair)]
    return GradientBudget((copies_gradient(setting, 2 * math.prod(most)),))
