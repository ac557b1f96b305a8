"""Error budgets per element, derived layer by layer: the sharp one that separates faults, and the worst case.

For example, a linear layer with 512 inputs sums K = 513 terms. Its worst case is gamma(513) S with S = |x| |W|^T + |b|,
which no correct implementation exceeds; its sharp budget is 2 sqrt(513) u S, which faults exceed.

The formulas in this package are written with these letters:

* u is the unit roundoff: u_s of the storage type, u_acc (or u_a) of a sum's accumulator.
* c(n, u) is the admitted relative error of n roundings: ``sharp_factor`` in the sharp budget, ``gamma`` in the worst
  case. "Few u" is c(n, u) with a small n, which the code states.
* K is the number of terms in a sum, and S the same sum of absolute values.
* g or dy is the cotangent of the output; dx, dw, db are the gradients of input, weight and bias.
* d before any other quantity, as in dm for a mean m, is the bound of its error.
"""

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
