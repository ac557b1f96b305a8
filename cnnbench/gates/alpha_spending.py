"""Alpha spending: how much of the risk of a false finding each interim analysis of growing data may use."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class AlphaSpending:
    """A plan of interim analyses: one after ``first``, ``first`` + 1, ..., ``last`` launches.

    Example: ten analyses, each at the 5 % level, find a change that is not there in far more than 5 % of comparisons.
    So the risk alpha = 0.05 is divided among them. By the time that a share t of the most launches has been made,

        spent(t) = alpha log(1 + (e - 1) t),    t = launches / ``last``

    of it may be spent. The interval of an analysis has confidence 1 - (spent now - spent at the analysis before). By
    the union bound all analyses together err with a probability of at most alpha, however their data depend on each
    other.

    Args:
        first: Launches before the first analysis.
        last: The most launches; the whole of alpha is spent there.

    Source: Lan and DeMets, "Discrete sequential boundaries for clinical trials" (1983), for the spending function of
    Pocock's type. Their boundaries also use the joint distribution of the analyses; these do not, and are wider.
    """

    first: int
    last: int

    def confidence(self, launches: int, overall: float) -> float:
        """The confidence of the interval of one analysis.

        Args:
            launches: How many launches it is made after.
            overall: The confidence that all analyses together shall have.
        """
        now = min(max(launches, 1), self.last)
        before = now - 1 if now > self.first else 0
        return 1 - (1 - overall) * (_share_spent(now / self.last) - _share_spent(before / self.last))


def _share_spent(time: float) -> float:
    return math.log1p((math.e - 1) * time)
