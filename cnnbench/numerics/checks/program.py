"""The check of a training program: a few rounds of every phase within the envelope of perturbed reference runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.numerics.calibration import ENDS_AT, LOSS
from cnnbench.numerics.comparison import examine, largest, largest_differences
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.program_course import AVERAGE, Taken, envelopes, exact_rounds, taken
from cnnbench.numerics.rounding import stored_loss
from cnnbench.training.programs.runner import ProgramRunner

NAME = "program"


def check_program(
    runner: ProgramRunner, policy: PrecisionPolicy, right: ProgramRunner | None = None, rounds: int = 2
) -> CheckOutcome:
    """Compares the weights, statistics, slots, loss and averages after each phase; a failure names the first phase.

    A value that rounding moves by ``ENDS_AT`` of itself is left out; how many were compared is among the details.

    Args:
        runner: The program on the backend that is examined.
        policy: Its arithmetic.
        right: What the program, its settings and its data should be, where a fault was put into ``runner``.
        rounds: How many.
    """
    exact = exact_rounds(right or runner, rounds)
    found = envelopes(right or runner, exact, rounds, policy)
    compared, most, where = 0, 0.0, ""
    for got, true, envelope in zip(taken(runner, rounds), exact, found, strict=False):
        place = f"round {true.round + 1}, phase {true.phase!r}"
        if got.phase != true.phase:
            text = f"{place}: the phase {got.phase!r} ran in its place"
            return CheckOutcome(name=NAME, status="failed", budget_used=np.inf, node=true.phase, message=text)
        for name, value in true.values.items():
            array = got.values.get(name)
            if array is not None and name == LOSS:  # the policy stores no loss
                array = stored_loss(float(array), policy)
            is_average = true.phase == AVERAGE  # which the host keeps in float64
            problem, said = (None, "") if is_average else examine(array, value.shape, policy, value)
            if problem is not None or array is None:
                text = f"{place}: {name}: {said or 'the value is missing'}"
                return CheckOutcome(name=NAME, status="failed", budget_used=np.inf, node=true.phase, message=text)
        open_names = _open(true, envelope.size)
        used = envelope.used(largest_differences(got.values, true.values))
        for name in open_names:
            compared += 1
            if not used[name] <= most:
                most, where = used[name], f"{place}: {name} uses {used[name]:.3g} of the envelope"
        if not most <= 1:
            return CheckOutcome(name=NAME, status="failed", budget_used=most, node=true.phase, message=where)
    return CheckOutcome(
        name=NAME, status="passed", budget_used=most, message=where, details={"compared": compared, "rounds": rounds}
    )


def _open(true: Taken, size: Mapping[str, float]) -> list[str]:
    scale = largest(true.values)
    return [name for name in true.values if size[name] <= ENDS_AT * max(scale[name], 1e-30)]
