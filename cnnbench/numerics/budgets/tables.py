"""Budgets of fixed tables: one rounding to storage."""

from __future__ import annotations

import numpy as np

from cnnbench.numerics.budgets.base import (
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    forward_formula,
    gradient_formula,
    roundings,
)
from cnnbench.numerics.hard_operands import no_hard_operands

KINDS = ("sinusoid_table", "causal_mask", "constant_table", "shifted_window_mask", "relative_offsets")


no_hard_operands(
    "causal_mask",
    "constant_table",
    "relative_offsets",
    "shifted_window_mask",
    "sinusoid_table",
    because="no operand is read",
)


@forward_formula(*KINDS)
def table(setting: Setting) -> ForwardBudget:
    """The values are computed on the host in float64 and rounded; a few roundings more are admitted."""
    return ForwardBudget((roundings(np.abs(setting.values.outputs[0]), 1, setting.u),))


@gradient_formula(*KINDS)
def table_gradient(setting: GradientSetting) -> GradientBudget:
    """There is none."""
    return GradientBudget((None,))
