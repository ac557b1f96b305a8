"""The exit codes of a run, and which one wins where several apply."""

from __future__ import annotations

from collections.abc import Iterable

OK = 0
REGRESSED = 1
USAGE = 2
WORKER_FAILED = 3  # a cell crashed, hung or ran out of memory
WRONG_NUMBERS = 4  # a numerical mismatch, NaN, a wrong shape or dtype
INCONCLUSIVE = 5  # inconclusive, not comparable, or nothing measured
DEFECT = 70  # a defect of cnnbench itself
INTERRUPTED = 130

PRECEDENCE = (DEFECT, INTERRUPTED, USAGE, WORKER_FAILED, WRONG_NUMBERS, REGRESSED, INCONCLUSIVE, OK)

MEANING = {
    OK: "all well",
    REGRESSED: "a gate found a regression",
    USAGE: "usage or suite error",
    WORKER_FAILED: "a cell crashed, hung or ran out of memory",
    WRONG_NUMBERS: "wrong numbers, NaN, a wrong shape or dtype",
    INCONCLUSIVE: "inconclusive, not comparable or nothing measured",
    DEFECT: "a defect of cnnbench",
    INTERRUPTED: "interrupted; --resume continues",
}


def worst(codes: Iterable[int]) -> int:
    """The code that wins: 70 > 2 > 3 > 4 > 1 > 5 > 0; 130 comes after 70, because the rest is not known yet.

    A code that is not known counts as a defect.
    """
    given = {code if code in PRECEDENCE else DEFECT for code in codes}
    return next((code for code in PRECEDENCE if code in given), OK)
