"""Where the reference itself is suspect: the other backends contradict it and agree with each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.outcome import DEFINED_ONCE, CheckOutcome

PROBES = 16
REFERENCE = "numpy"
COMPARED = ("local", "exact", "gradient")


class Suspicion(NamedTuple):
    """The node at which NumPy stands alone, in words, and the outcome that says so."""

    node: str
    text: str

    @property
    def outcome(self) -> CheckOutcome:
        """As a failed check of the reference."""
        return CheckOutcome(name="reference", status="failed", node=self.node, message=self.text)


def probe(got: NDArray[Any], budget: NDArray[Any], quantity: str) -> dict[str, Any]:
    """A value at a few fixed elements with the errors admitted there: enough to compare backends with each other.

    Args:
        got: What a backend gave.
        budget: The sharp budget, of a shape that broadcasts to the value's.
        quantity: What value it is.
    """
    at = np.unique(np.linspace(0, got.size - 1, PROBES).astype(int))
    admitted = np.broadcast_to(budget, got.shape).reshape(-1)[at]
    return {
        "quantity": quantity,
        "got": np.asarray(got.reshape(-1)[at], np.float64).tolist(),
        "admitted": np.asarray(admitted, np.float64).tolist(),
    }


def suspicion(found: Mapping[str, Sequence[Sequence[CheckOutcome]]]) -> Suspicion | None:
    """Whether NumPy alone disagrees.

    That is so where at least two other backends were compared, all of them fail at the same node and value, and there
    each two lie within their budgets of each other.

    Args:
        found: By backend the outcomes of each of its programs, all of one network in one precision.
    """
    for name in COMPARED:
        others = {
            backend: [o for outcomes in programs for o in outcomes if o.name == name and o.status != "skipped"]
            for backend, programs in found.items()
            if backend != REFERENCE
        }
        others = {backend: outcomes for backend, outcomes in others.items() if outcomes}
        failures = [outcome for outcomes in others.values() for outcome in outcomes]
        if len(others) >= 2 and _agree(failures):
            quantity = failures[0].details["probe"]["quantity"]
            names = sorted(others)
            text = (
                f"NumPy alone disagrees with {', '.join(names[:-1])} and {names[-1]}, which agree with each other, at "
                f"{failures[0].node} ({quantity}, check {name}): the reference is suspect"
            )
            return Suspicion(str(failures[0].node), text)
    return None


def one_definition(found: Mapping[str, Sequence[Sequence[CheckOutcome]]]) -> CheckOutcome | None:
    """A skipped outcome of the reference where it was compared with nothing but itself.

    That is so of a kind that only a plugin's op for NumPy defines, where no other backend passed the local check.

    Args:
        found: As in ``suspicion``.
    """
    local = {
        backend: [o for outcomes in programs for o in outcomes if o.name == "local" and o.status == "passed"]
        for backend, programs in found.items()
    }
    if any("not_compared" not in o.details for name, passed in local.items() if name != REFERENCE for o in passed):
        return None
    kinds = sorted({kind for o in local.get(REFERENCE, ()) for kind in o.details.get(DEFINED_ONCE, ())})
    if not kinds:
        return None
    message = (
        f"nothing but a plugin's op for NumPy says what {', '.join(kinds)} computes, and it was compared with itself: "
        "an op that is wrong, forward and backward alike, passes; check another backend that has an op of its own too"
    )
    return CheckOutcome(name="reference", status="skipped", message=message)


def _agree(failures: Sequence[CheckOutcome]) -> bool:
    """Whether all failed at one node and value, in which they are equal within their budgets."""
    if any(outcome.status != "failed" or "probe" not in outcome.details for outcome in failures):
        return False
    places = {(outcome.node, outcome.details["probe"]["quantity"]) for outcome in failures}
    return len(places) == 1 and all(
        np.allclose(a["got"], b["got"], rtol=0, atol=np.add(a["admitted"], b["admitted"]), equal_nan=True)
        for a, b in combinations([outcome.details["probe"] for outcome in failures], 2)
    )
