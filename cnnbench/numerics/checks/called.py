"""Calls of one kept program, judged: against the answers of their images, each other, and the arrays that it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.answers import Answers, Disagreement, images_of
from cnnbench.numerics.calibration import leaves_range
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks.read_back import unlike
from cnnbench.numerics.envelope import forward_envelope
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.numerics.same_choices import RightAnswer, RightAnswers, right_answers
from cnnbench.numerics.session import Calls, Session, distances
from cnnbench.numerics.subject import Subject

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Steps = Iterator[tuple[str, Disagreement | None]]


class CalledProgram:
    """A kept program whose calls are judged.

    Args:
        session: That holds it.
        subject: Whose program it is.
        case: Of the program.
        answers: What is known of its images.

    Attributes:
        details: Figures of what was done.
        first: What the first calls gave.
    """

    def __init__(self, session: Session, subject: Subject, case: Case, answers: Answers) -> None:
        self._session, self._subject, self._case, self._answers = session, subject, case, answers
        self._state: Arrays | None = None
        self.first: Calls | None = None
        self.details: dict[str, Any] = {"batch": case.size, "calls": 0}

    def run(self, name: str, calls: int) -> Calls:
        """Calls on the operands of a name, which are counted."""
        self.details["calls"] += calls
        return self._session.run(name, calls)

    def called(self, name: str, batch: Arrays, step: str, calls: int, *, unusual: bool = False) -> Steps:
        """Calls, compared with each other, and the last with the answers.

        Args:
            name: Of the operands.
            batch: That they hold.
            step: What is said of it.
            calls: How many.
            unusual: Whether rounding may move the outputs farther than those of the case's own batch.
        """
        found = self.run(name, calls)
        self.first = self.first or found
        images = images_of(self._case.graph, batch)
        if self._answers.lacks(images):
            self._answers.learn(images, self._exact(batch))
        wrong = self._answers.judge(images, found.result.outputs)
        yield step, None if wrong is None else self._confirmed(wrong, batch, found.result.outputs, unusual)
        yield step, self._unsteady(found)
        yield step, self._moved(found.result.state)

    def read_back(self, arrays: Arrays) -> Disagreement | None:
        """The program's own arrays, bit for bit; folded ones within their two roundings."""
        held = self._session.held()
        if held is None:
            self.details["not_compared"] = "the backend does not tell the arrays that it holds"
            return None
        return unlike(held, arrays, self._case)

    def _confirmed(self, wrong: Disagreement, batch: Arrays, outputs: Arrays, unusual: bool) -> Disagreement | None:
        """None where the reference gives the same for this very batch: images meet in this network, as in a mean.

        Or where rounding decides a discrete choice, and the outputs are right under the one that the subject makes.
        """
        case = replace(self._case, batch=batch, targets=None)
        right = None if wrong.problem else right_answers(self._subject, case)
        if right is None and unusual and not wrong.problem:
            right = RightAnswers((RightAnswer(*forward_envelope(Oracle.of(case))),))
        if right is not None:
            for answer in right.answers:
                if leaves_range(*answer, case.policy) is None:
                    self._answers.learn(images_of(self._case.graph, batch), answer.exact, answer.envelope)
            return self._answers.judge(images_of(self._case.graph, batch), outputs)
        gaps = distances(outputs, self._exact(batch)) if wrong.problem is None else {"": np.inf}
        self.details["images_meet"] = all(gap <= self._answers.admitted.get(name, 0.0) for name, gap in gaps.items())
        return None if self.details["images_meet"] else wrong

    def _exact(self, batch: Arrays) -> Arrays:
        return reference().subject.forward(self._case.lowered, self._case.stored, batch, reference_options()).outputs

    def _unsteady(self, found: Calls) -> Disagreement | None:
        """Equal calls that lie farther apart than rounding takes them."""
        for name, gap in found.deviation.items():
            share = gap / (2 * self._answers.admitted[name])
            if not share <= 1:
                number = next(i for i, digest in enumerate(found.digests) if digest != found.digests[0])
                text = f"output {name} of call {number + 1} is not that of the first call: up to {gap:.3g} apart"
                return Disagreement(share, text)
        self.details["bitwise"] = self.details.get("bitwise", True) and found.repeats
        return None

    def _moved(self, state: Arrays) -> Disagreement | None:
        """Running statistics that a call at inference changed."""
        if self._state is None:
            self._state = {name: np.array(array) for name, array in state.items()}
        for name, array in self._state.items():
            if name not in state or not np.array_equal(array, state[name]):
                return Disagreement(np.inf, f"{name} has moved at inference", array=name)
        return None
