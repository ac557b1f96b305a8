"""Error budgets per element, derived layer by layer: the sharp one that separates faults, and the worst case."""

from cnnbench.numerics.budgets.base import (
    DERIVED,
    MEASURED,
    Budget,
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    budget_form,
    forward_budget,
    gradient_budget,
)

__all__ = [
    "DERIVED",
    "MEASURED",
    "Budget",
    "ForwardBudget",
    "GradientBudget",
    "GradientSetting",
    "Setting",
    "budget_form",
    "forward_budget",
    "gradient_budget",
]
