"""Budgets of dropout of any kind: a scale at training, nothing at inference."""

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
    roundings,
)
from cnnbench.numerics.hard_operands import hard_operands, of_every_square

hard_operands("dropout", "stochastic_depth")(of_every_square)


def _scaled(value: np.ndarray, setting: Setting) -> Budget:
    """Three roundings: 1 - p, its reciprocal, the product."""
    return roundings(np.abs(value), 3, setting.u) if setting.call.training else exact(setting.u)


@forward_formula("dropout", "stochastic_depth")
def dropout(setting: Setting) -> ForwardBudget:
    """y = x mask / (1 - p)."""
    return ForwardBudget((_scaled(setting.values.outputs[0], setting),))


@gradient_formula("dropout", "stochastic_depth")
def dropout_gradient(setting: GradientSetting) -> GradientBudget:
    """dx = dy mask / (1 - p)."""
    return GradientBudget((_scaled(setting.gradients.inputs[0], setting),))
