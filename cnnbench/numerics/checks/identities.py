"""Weights that change no value are checked once more: the same checks, with those arrays in general position.

For example, a checkpoint whose batch norms were never trained: a backend that ignores their statistics gives the same
outputs, so that its checks on that checkpoint alone say nothing of statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cnnbench.numerics.case import Case
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.spec.weights import at_identity, general_position

REPEATED = ("local", "end_to_end", "gradient", "training")
SHOWN = 3


def moved(case: Case) -> tuple[Case, tuple[str, ...]] | None:
    """The case with the arrays that change no value drawn in general position, and their names; None without any."""
    names = at_identity(case.graph, case.arrays)
    if not names:
        return None
    drawn = general_position(case.graph, case.seed)
    arrays = {name: drawn[name].astype(np.asarray(case.arrays[name]).dtype) for name in names}
    return replace(case, arrays={**case.arrays, **arrays}), names


def joined(outcome: CheckOutcome, again: CheckOutcome, names: Sequence[str]) -> CheckOutcome:
    """One outcome of a check on the weights as they are, and of the same check on those that were moved.

    Args:
        outcome: On the weights as they are; it did not fail.
        again: On the moved ones.
        names: Of the arrays that were moved.
    """
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    facts = {"at_identity": list(names), "in_general_position": again.status}
    if again.status == "failed":
        said = f"with {shown} in general position, which are 0, 1 or all equal in these weights: {again.message}"
        return again.model_copy(update={"message": said, "details": {**again.details, **facts}})
    said = f"{outcome.message}; {again.status} with {shown} in general position too"
    return outcome.model_copy(update={"message": said, "details": {**outcome.details, **facts}})
