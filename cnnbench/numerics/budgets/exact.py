"""Budgets of values that are moved or chosen, not computed."""

from __future__ import annotations

from cnnbench.numerics.budgets.base import ForwardBudget, GradientBudget, GradientSetting, Setting, exact


def exact_outputs(setting: Setting) -> ForwardBudget:
    """Values are moved or chosen, not computed."""
    return ForwardBudget((exact(setting.u),) * len(setting.values.outputs))


def exact_gradients(setting: GradientSetting) -> GradientBudget:
    """Values are moved or chosen, not computed; what has no gradient gets 0."""
    return GradientBudget((exact(setting.u),) * len(setting.call.inputs))
