"""The timed check: one compiled program, called as a timing calls it, and in every way that may leave traces in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.answers import Answers, Disagreement, images_of
from cnnbench.numerics.calibration import leaves_range
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks.located import recorded_program, with_node
from cnnbench.numerics.checks.other_weights import outputs_of_another, unlike_another
from cnnbench.numerics.checks.read_back import unlike
from cnnbench.numerics.comparison import largest
from cnnbench.numerics.envelope import forward_envelope
from cnnbench.numerics.made_choices import made_choices
from cnnbench.numerics.memoizing import MemoizingSubject, opens_sessions
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.other_operands import in_reverse, rotated
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.numerics.same_choices import right_answers
from cnnbench.numerics.session import Calls, Session, distances
from cnnbench.numerics.subject import Subject
from cnnbench.spec.graph import weight_parts
from cnnbench.spec.weights import split_state

Array = NDArray[Any]
Arrays = Mapping[str, Array]

NAME = "timed"
MANY_CALLS = 24
LITTLE_MACS = 10_000_000  # of a call, up to which so many are made
FEW_CALLS = 3
LARGE_MACS = 1_000_000_000  # of a call, from which on some steps are left to the timing


def check_timed(subject: Subject, oracle: Oracle) -> CheckOutcome:
    """The program as it is timed: compiled once, prepared, and called again and again.

    Calls on one input must agree, whatever was called in between: an input whose images are rotated (each must keep its
    answer), other values in the same memory, NaN, another batch size, other weights. Weights and running statistics are
    read back and compared bit for bit where the backend tells them, and at inference statistics must not move. Where a
    call is wrong, all steps up to it are done again to prefixes of the program, which says at which node.
    """
    case = oracle.case
    if not opens_sessions(subject):
        return CheckOutcome(name=NAME, status="skipped", message="the subject keeps no program from call to call")
    made = made_choices(subject, oracle)
    exact, envelope = forward_envelope(oracle, None if made is None else made.choices)
    if (reason := leaves_range(exact, envelope, case.policy)) is not None:
        return CheckOutcome(name=NAME, status="skipped", message=reason)
    answers = Answers(case.graph, case.policy, envelope)
    answers.learn(images_of(case.graph, case.inputs), exact)
    options = replace(case.options, training=False)
    memoizing = subject if isinstance(subject, MemoizingSubject) else MemoizingSubject(subject)
    session = memoizing.open(case.graph, options)
    try:
        examination = _Examination(session, subject, case, answers)
        found = examination.outcome()
    finally:
        session.close()
    if found.status != "failed":
        return found
    if (array := examination.wrong_array) is not None:
        return found.model_copy(update={"node": weight_parts(array)[0]})
    return with_node(found, subject, oracle, lambda: [recorded_program(oracle, session.recording)])


class _Examination:
    """What is done to one program, until a step finds something: of an array, where one is wrong itself."""

    def __init__(self, session: Session, subject: Subject, case: Case, answers: Answers) -> None:
        self._session, self._subject, self._case, self._answers = session, subject, case, answers
        self._state: Arrays | None = None
        self._first: Calls | None = None
        self.wrong_array: str | None = None
        self._details: dict[str, Any] = {"batch": case.size, "calls": 0}

    def outcome(self) -> CheckOutcome:
        """Failed at the first step that finds something."""
        for step, found in self._steps():
            if found is None:
                continue
            details = self._details | {"step": step} | ({"problem": found.problem} if found.problem else {})
            if found.image is not None:
                details["image"] = found.image
            self.wrong_array, text = found.array, f"{step}: {found.text}"
            return CheckOutcome(name=NAME, status="failed", budget_used=found.share, message=text, details=details)
        share, calls = self._answers.largest_share, self._details["calls"]
        text = f"{calls} calls of one program agree, {share:.3g} of the envelope at most"
        return CheckOutcome(name=NAME, status="passed", budget_used=share, message=text, details=self._details)

    def _steps(self) -> Iterator[tuple[str, Disagreement | None]]:
        case, session = self._case, self._session
        first = dict(case.inputs)
        turned = rotated(case, first)
        session.load(case.stored)
        if not self._is_brief:
            yield "weights read back after loading", self._read_back(case.stored)
        session.upload("first", first)
        yield from self._called("first", first, "first input", 1)
        session.upload("second", turned)
        if not self._is_brief:
            yield from self._called("first", first, "same input again", self._calls)
            yield from self._called("second", turned, "images in another order", 1)
            yield from self._called("first", first, "first input after another", 1)
        if session.overwrite("first", "second"):
            yield from self._called("first", turned, "other values in the operands' own memory", 1)
        session.upload("second", turned)
        session.upload("first", turned)
        yield from self._called("first", turned, "other values in the same memory of the host", 1)
        session.upload("first", first)
        if not self._is_brief:
            yield from self._called("first", first, "the first values there again", 1)
        session.upload("second", {n: np.full_like(a, np.nan) if a.dtype.kind == "f" else a for n, a in first.items()})
        try:
            self._run("second", 1)
        except Exception as error:  # a program may refuse NaN, such as boxes without a size
            self._details["refuses_nan"] = type(error).__name__
        if not self._is_brief:
            yield from self._called("first", first, "after a call on NaN", 2)
        yield from self._reloaded(first)
        yield from self._sizes(first)
        if not self._is_brief:
            yield "weights read back at the end", self._read_back(case.stored)

    @property
    def _is_brief(self) -> bool:
        """Whether steps are left out that the timing of a large network repeats, or that later steps contain."""
        case = self._case
        return not case.thorough and not case.sizes and case.lowered.macs(case.size) > LARGE_MACS

    @property
    def _calls(self) -> int:
        little = self._case.lowered.macs(self._case.size) <= LITTLE_MACS
        return MANY_CALLS if little or self._case.thorough else FEW_CALLS

    def _run(self, name: str, calls: int) -> Calls:
        self._details["calls"] += calls
        return self._session.run(name, calls)

    def _called(self, name: str, batch: Arrays, step: str, calls: int) -> Iterator[tuple[str, Disagreement | None]]:
        """Calls, compared with each other, and the last with the answers."""
        found = self._run(name, calls)
        self._first = self._first or found
        images = images_of(self._case.graph, batch)
        if self._answers.lacks(images):
            self._answers.learn(images, self._exact(batch))
        wrong = self._answers.judge(images, found.result.outputs)
        yield step, None if wrong is None else self._confirmed(wrong, batch, found.result.outputs)
        yield step, self._unsteady(found)
        yield step, self._moved(found.result.state)

    def _confirmed(self, wrong: Disagreement, batch: Arrays, outputs: Arrays) -> Disagreement | None:
        """None where the reference gives the same for this very batch: images meet in this network, as in a mean.

        Or where rounding decides a discrete choice, and the outputs are right under the one that the subject makes.
        """
        right = None if wrong.problem else right_answers(self._subject, replace(self._case, batch=batch, targets=None))
        if right is not None:
            for answer in right.answers:
                self._answers.learn(images_of(self._case.graph, batch), answer.exact, answer.envelope)
            return self._answers.judge(images_of(self._case.graph, batch), outputs)
        gaps = distances(outputs, self._exact(batch)) if wrong.problem is None else {"": np.inf}
        self._details["images_meet"] = all(gap <= self._answers.admitted.get(name, 0.0) for name, gap in gaps.items())
        return None if self._details["images_meet"] else wrong

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
        self._details["bitwise"] = self._details.get("bitwise", True) and found.repeats
        return None

    def _moved(self, state: Arrays) -> Disagreement | None:
        """Running statistics that a call at inference changed."""
        if self._state is None:
            self._state = {name: np.array(array) for name, array in state.items()}
        for name, array in self._state.items():
            if name not in state or not np.array_equal(array, state[name]):
                return Disagreement(np.inf, f"{name} has moved at inference", array=name)
        return None

    def _reloaded(self, first: Arrays) -> Iterator[tuple[str, Disagreement | None]]:
        """Other weights, and the right ones again."""
        case, session, step = self._case, self._session, "other weights loaded"
        if case.options.own is not None:
            self._details["not_reloaded"] = "the user's own program keeps its weights"
            return
        other = {name: in_reverse(array) for name, array in case.stored.items()}
        weights, _ = split_state(case.graph, case.stored)
        if all(np.array_equal(other[name], array) for name, array in weights.items()):
            return
        before = self._first or self._run("first", 1)
        session.load(other)
        yield step, self._read_back(other)
        after, fresh = self._run("first", 1), outputs_of_another(self._subject, case, other, first)
        differ = any(not gap <= self._answers.admitted[n] for n, gap in distances(before.result.outputs, fresh).items())
        if differ and after.digests[-1] == before.digests[-1] and any(map(_varies, before.result.outputs.values())):
            yield step, Disagreement(np.inf, "the outputs are those of the weights before, bit for bit")
        usual = largest(self._first.result.outputs) if self._first else {}
        yield step, unlike_another(after.result.outputs, fresh, usual, self._answers.admitted)
        session.load(case.stored)
        yield "the first weights loaded again", self._read_back(case.stored)
        yield from self._called("first", first, "the first weights loaded again", 1)

    def _sizes(self, first: Arrays) -> Iterator[tuple[str, Disagreement | None]]:
        """Batches of other sizes, made of the images whose answers are known."""
        case = self._case
        batched = [item.name for item in case.graph.inputs if item.batched]
        if not batched or not case.size or (case.options.own is not None and case.options.own.batch is not None):
            return
        for size in case.sizes:
            order = np.arange(size) % case.size
            batch = {name: array[order] if name in batched else array for name, array in first.items()}
            self._session.upload("sized", batch)
            yield from self._called("sized", batch, f"a batch of {size}", 2)
        yield from self._called("first", first, "first batch after those of other sizes", 1)

    def _read_back(self, arrays: Arrays) -> Disagreement | None:
        """The program's own arrays, bit for bit; folded ones within their two roundings."""
        held = self._session.held()
        if held is None:
            self._details["not_compared"] = "the backend does not tell the arrays that it holds"
            return None
        return unlike(held, arrays, self._case)


def _varies(output: Array) -> bool:
    return output.dtype.kind == "f" and bool(np.ptp(output) > 0) if output.size else False
