"""Budgets of layers that move values."""

from __future__ import annotations

import numpy as np

from cnnbench.numerics.budgets.base import (
    Budget,
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    exact,
    forward_formula,
    gradient_formula,
)
from cnnbench.numerics.rounding import to_storage


@forward_formula("flatten")
def moved(setting: Setting) -> ForwardBudget:
    """Values are moved, not computed."""
    return ForwardBudget((exact(setting.u),))


@forward_formula("pad")
def pad(setting: Setting) -> ForwardBudget:
    """Values are moved; a constant that the storage type does not hold is rounded."""
    value = np.asarray(setting.layer.value)
    lost = abs(float(to_storage(value, setting.policy)) - float(value))
    floor = np.asarray(setting.u.smallest + 2 * lost)
    return ForwardBudget((Budget(floor, floor),))


@gradient_formula("flatten", "pad")
def moved_gradient(setting: GradientSetting) -> GradientBudget:
    """Values are moved, not computed."""
    return GradientBudget((exact(setting.u),))
