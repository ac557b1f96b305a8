"""How much of the risk of a false finding each look at growing data may spend."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Looks:
    """Looks at a comparison after ``first``, ``first`` + 1, ..., ``last`` launches; the first that decides ends it.

    Whoever looks ten times at the 5 % level finds something that is not there far more often than in 5 % of cases. So
    the risk alpha is spent little by little: of it,

        spent(t) = alpha log(1 + (e - 1) t),    t = launches / ``last``

    may have been spent by the time that a share t of the most launches has been made. A look's interval has confidence
    1 - (spent now - spent at the look before). By the union bound all looks together err with a probability of at most
    alpha, however their data depend on each other.

    Source: Lan and DeMets, "Discrete sequential boundaries for clinical trials" (1983), for the function of Pocock's
    type; their boundaries also use the joint distribution of the looks, which this does not assume.
    """

    first: int
    last: int

    def confidence(self, launches: int, confidence: float) -> float:
        """The confidence of the interval after so many launches, where all looks together shall have ``confidence``."""
        now = min(max(launches, 1), self.last)
        before = now - 1 if now > self.first else 0
        return 1 - (1 - confidence) * (_spent(now / self.last) - _spent(before / self.last))


def _spent(share: float) -> float:
    return math.log1p((math.e - 1) * share)
