"""Budgets of layers that rearrange channels and positions."""

from __future__ import annotations

from cnnbench.numerics.budgets.base import (
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    exact,
    exact_on_integers,
    forward_formula,
    gradient_formula,
)

_KINDS = ("channel_shuffle", "depth_to_space", "space_to_depth")

exact_on_integers(*_KINDS)


@forward_formula(*_KINDS)
def moved(setting: Setting) -> ForwardBudget:
    """Values are moved, not computed."""
    return ForwardBudget((exact(setting.u),))


@gradient_formula(*_KINDS)
def moved_gradient(setting: GradientSetting) -> GradientBudget:
    """Values are moved, not computed."""
    return GradientBudget((exact(setting.u),))
