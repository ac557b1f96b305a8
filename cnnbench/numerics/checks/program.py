"""The check of a training program: a few rounds of every phase within the envelope of perturbed reference runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.numerics.calibration import ENDS_AT, LOSS, Envelope
from cnnbench.numerics.comparison import examine, largest, largest_differences
from cnnbench.numerics.crossings import share
from cnnbench.numerics.outcome import TRAINING_PROGRAM, CheckOutcome
from cnnbench.numerics.program_course import AVERAGE, Taken, envelopes, exact_rounds, program_crossings, taken
from cnnbench.numerics.rounding import stored_loss
from cnnbench.training.programs.runner import ProgramRunner

NAME = TRAINING_PROGRAM
ROUNDS = 2


def check_program(
    runner: ProgramRunner, policy: PrecisionPolicy, right: ProgramRunner | None = None, rounds: int = ROUNDS
) -> CheckOutcome:
    """Compares the weights, statistics, slots, loss and averages after each phase; a failure names the first phase.

    A value that rounding moves by ``ENDS_AT`` of itself is left out; how many were compared is among the details.

    Args:
        runner: The program on the backend that is examined.
        policy: Its arithmetic.
        right: What the program, its settings and its data should be, where a fault was put into ``runner``.
        rounds: How many.
    """
    return judge_rounds(taken(runner, rounds), expected_rounds(right or runner, policy, rounds), policy)


@dataclass(frozen=True)
class ExpectedRounds:
    """What a program should come to, after each phase.

    Args:
        exact: Its values.
        envelopes: How far others may lie.
        crossings: What values move that cross kinks, by name; asked where something lies outside its envelope.
    """

    exact: tuple[Taken, ...]
    envelopes: tuple[Envelope, ...]
    crossings: Callable[[], Sequence[Mapping[str, float]]] = tuple


def expected_rounds(runner: ProgramRunner, policy: PrecisionPolicy, rounds: int = ROUNDS) -> ExpectedRounds:
    """What the reference makes of a program.

    Args:
        runner: Of the program; only its program, settings and data are read.
        policy: The arithmetic that is examined.
        rounds: How many.
    """
    exact = exact_rounds(runner, rounds)
    around = tuple(envelopes(runner, exact, rounds, policy))
    return ExpectedRounds(tuple(exact), around, cache(lambda: program_crossings(runner, exact, rounds, policy)))


def judge_rounds(got: Iterable[Taken], expected: ExpectedRounds, policy: PrecisionPolicy) -> CheckOutcome:
    """Compares what was held after each phase, as ``check_program`` says.

    Args:
        got: On the backend that is examined.
        expected: Of the same rounds.
        policy: Its arithmetic.
    """
    compared, most, where = 0, 0.0, ""
    come = iter(got)
    for number, (true, envelope) in enumerate(zip(expected.exact, expected.envelopes, strict=True)):
        found = next(come, Taken(true.round, "", {}))
        place = f"round {true.round + 1}, phase {true.phase!r}"
        wrong = _wrong_at_sight(found, true, policy)
        if wrong is not None:
            problem, text = wrong
            return _failed(true, f"{place}: {text}", np.inf, problem)
        difference = largest_differences(found.values, true.values)
        for name in _open(true, envelope.size):
            compared += 1
            used = share(envelope, name, difference[name], expected.crossings, number)
            if not used <= most:
                most, where = used, f"{place}: {name} uses {used:.3g} of the envelope"
        if not most <= 1:
            return _failed(true, where, most)
    if next(come, None) is not None:
        return _failed(expected.exact[-1], "more phases ran than the program has", np.inf)
    details = {"compared": compared, "rounds": expected.exact[-1].round + 1}
    if not compared:
        text = "rounding moves every value too far for a comparison"
        return CheckOutcome(name=NAME, status="skipped", message=text, details=details)
    return CheckOutcome(name=NAME, status="passed", budget_used=most, message=where, details=details)


def _failed(true: Taken, text: str, used: float, problem: str | None = None) -> CheckOutcome:
    details = {} if problem is None else {"problem": problem}
    return CheckOutcome(name=NAME, status="failed", budget_used=used, node=true.phase, message=text, details=details)


def _wrong_at_sight(found: Taken, true: Taken, policy: PrecisionPolicy) -> tuple[str | None, str] | None:
    """(problem, text) where another phase ran, or a value is missing, has another shape or dtype, or is no number."""
    if found.phase != true.phase:
        return None, f"the phase {found.phase!r} ran in its place" if found.phase else "it did not run"
    for name, value in true.values.items():
        array = found.values.get(name)
        if array is None:
            return None, f"{name}: the value is missing"
        if name == LOSS:  # the policy stores no loss
            array = stored_loss(float(array), policy)
        if true.phase != AVERAGE:  # which the host keeps in float64
            problem, said = examine(array, value.shape, policy, value)
            if problem is not None:
                return problem, f"{name}: {said}"
    return None


def _open(true: Taken, size: Mapping[str, float]) -> list[str]:
    scale = largest(true.values)
    return [name for name in true.values if size[name] <= ENDS_AT * max(scale[name], 1e-30)]
