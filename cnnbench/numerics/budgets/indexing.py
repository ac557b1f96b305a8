"""Budgets of layers that take part of their input: values are moved, gradients of what was taken twice are summed."""

from __future__ import annotations

from collections import Counter

import numpy as np

from cnnbench.numerics.budgets.base import (
    GradientBudget,
    GradientSetting,
    exact_on_integers,
    forward_formula,
    gradient_formula,
)
from cnnbench.numerics.budgets.exact import exact_gradients, exact_outputs
from cnnbench.numerics.budgets.shape import copies_gradient

exact_on_integers("slice", "split", "gather", "roll")

forward_formula("slice", "split", "gather", "gather_indices", "roll")(exact_outputs)
gradient_formula("slice", "split", "roll")(exact_gradients)


@gradient_formula("gather")
def gather_gradient(setting: GradientSetting) -> GradientBudget:
    """The sum over a position's copies."""
    return GradientBudget((copies_gradient(setting, max(Counter(setting.layer.indices).values())),))


@gradient_formula("gather_indices")
def gather_indices_gradient(setting: GradientSetting) -> GradientBudget:
    """The sum over what read a position: at most as often as the commonest index occurs."""
    count = int(np.unique(setting.call.inputs[1], return_counts=True)[1].max(initial=1))
    return GradientBudget((copies_gradient(setting, count), None))
