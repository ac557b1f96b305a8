"""What the reference gives where it makes the discrete choices of a program that is timed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from cnnbench.numerics.calibration import Envelope, leaves_range
from cnnbench.numerics.case import Case
from cnnbench.numerics.envelope import forward_envelope
from cnnbench.numerics.forced_choices import ForcedChoices
from cnnbench.numerics.made_choices import made_choices
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.subject import Subject


class RightAnswer(NamedTuple):
    """Outputs that are right for a batch. Args: exact: by output. envelope: theirs."""

    exact: Mapping[str, NDArray[Any]]
    envelope: Envelope


class RightAnswers(NamedTuple):
    """All that is right for a batch under choices that rounding decides.

    Args:
        answers: One for the reference's own choices, and one for the subject's where they are others.
        wrong: What is wrong with the subject's choices; empty where they are right.
    """

    answers: tuple[RightAnswer, ...]
    wrong: str = ""


def right_answers(subject: Subject, case: Case) -> RightAnswers | None:
    """What a program may give for a case's batch; None for a network that does not choose.

    For example, two boxes that overlap have scores within rounding of each other. Of which of them stays depends on the
    place of the image in its batch, as sums are split otherwise there. The subject is asked for its choice on this very
    batch. Where it is right, the outputs that follow from it are as right as those of the reference.

    Args:
        subject: That holds the program; its network is compiled anew, with its choices as outputs.
        case: With the batch.
    """
    if not ForcedChoices(case).nodes:
        return None
    oracle = Oracle.of(case)
    made = made_choices(subject, oracle)
    answers = [RightAnswer(*forward_envelope(oracle))]
    if made is not None and made.node is None and made.ties:
        answers.append(RightAnswer(*forward_envelope(oracle, made.choices)))
    inside = tuple(answer for answer in answers if leaves_range(*answer, case.policy) is None)
    return RightAnswers(inside, "" if made is None or made.node is None else f"{made.node}: {made.text}")
