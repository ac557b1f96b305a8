"""Judges outputs: how many there are, their shapes and dtypes exactly, their values to 1e-5 of the largest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

RELATIVE = 1e-5

Array = NDArray[Any]


class CaseVerdict(NamedTuple):
    """What became of a comparison.

    Args:
        problem: What is wrong; "" where nothing is.
        error: The largest difference as a share of the largest finite expected value of its output.
    """

    problem: str
    error: float


def judge(expected: Sequence[Array], received: Sequence[Array], relative: float = RELATIVE) -> CaseVerdict:
    """Compares outputs in order. Floats may differ by ``relative`` times the largest finite expected value.

    Args:
        expected: What the case says, one array an output.
        received: What the backend gave, in the same order.
        relative: The tolerance, as a share of the largest finite expected value.
    """
    if len(expected) != len(received):
        return CaseVerdict(f"{len(received)} outputs, expected {len(expected)}", float("inf"))
    worst = 0.0
    for position, (wanted, found) in enumerate(zip(expected, received, strict=True)):
        verdict = _judge_one(np.asarray(wanted), np.asarray(found), relative)
        worst = max(worst, verdict.error)
        if verdict.problem:
            return CaseVerdict(f"output {position}: {verdict.problem}", verdict.error)
    return CaseVerdict("", worst)


def _judge_one(wanted: Array, found: Array, relative: float) -> CaseVerdict:
    infinite = float("inf")
    if found.shape != wanted.shape:
        return CaseVerdict(f"shape {found.shape}, expected {wanted.shape}", infinite)
    if found.dtype != wanted.dtype:
        return CaseVerdict(f"dtype {found.dtype}, expected {wanted.dtype}", infinite)
    if wanted.dtype.kind != "f":
        wrong = int(np.count_nonzero(found != wanted))
        return CaseVerdict(f"{wrong} of {wanted.size} elements differ" if wrong else "", infinite if wrong else 0.0)
    finite = np.isfinite(wanted)
    special = ~finite
    if not np.array_equal(found[special], wanted[special], equal_nan=True) or not np.isfinite(found[finite]).all():
        return CaseVerdict("infinities or NaN are not where they are expected", infinite)
    if not finite.any():
        return CaseVerdict("", 0.0)
    w, f = wanted[finite].astype(np.float64), found[finite].astype(np.float64)
    largest, difference = float(np.abs(w).max()), float(np.abs(f - w).max())
    if difference == 0:
        return CaseVerdict("", 0.0)
    error = difference / largest if largest else infinite
    at = int(np.abs(f - w).argmax())
    shown = f"{f[at]:.9g} for {w[at]:.9g}, {error:.2g} of the largest, more than {relative:g}"
    return CaseVerdict(shown if error > relative else "", error)
