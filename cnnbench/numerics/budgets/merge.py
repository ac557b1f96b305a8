"""Budgets of layers that join values."""

from __future__ import annotations

import numpy as np

from cnnbench.numerics.budgets.base import (
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    exact,
    forward_formula,
    gradient_formula,
    roundings,
)


@forward_formula("add")
def add(setting: Setting) -> ForwardBudget:
    """k - 1 roundings of partial sums, each at most sum |x_i|."""
    inputs = setting.call.inputs
    return ForwardBudget((roundings(sum(map(np.abs, inputs), np.zeros(())), len(inputs) - 1, setting.u),))


@forward_formula("concat")
def concat(setting: Setting) -> ForwardBudget:
    """Values are moved, not computed."""
    return ForwardBudget((exact(setting.u),))


@gradient_formula("add", "concat")
def moved_gradient(setting: GradientSetting) -> GradientBudget:
    """Values are moved, not computed."""
    return GradientBudget((exact(setting.u),) * len(setting.call.inputs))
