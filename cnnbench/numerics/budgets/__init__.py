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
from cnnbench.numerics.budgets.sensitivity import measured_forward, measured_gradient  # they register the fallback

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
    "measured_forward",
    "measured_gradient",
]
