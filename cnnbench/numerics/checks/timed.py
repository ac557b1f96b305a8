"""The timed check: one compiled program, called as a timing calls it, and in every way that may leave traces in it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import SpecError
from cnnbench.numerics.answers import Answers, Disagreement, images_of
from cnnbench.numerics.calibration import leaves_range
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks.called import CalledProgram, Steps
from cnnbench.numerics.checks.located import recorded_program, with_node
from cnnbench.numerics.checks.other_weights import outputs_of_another, unlike_another
from cnnbench.numerics.checks.verdict import in_one_line
from cnnbench.numerics.comparison import largest
from cnnbench.numerics.envelope import forward_envelope
from cnnbench.numerics.made_choices import made_choices
from cnnbench.numerics.memoizing import MemoizingSubject, opens_sessions
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.other_operands import in_reverse, rotated
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.session import distances
from cnnbench.numerics.steps_done import RecordedSession, StepsDone
from cnnbench.numerics.structured_images import MEAN, ZEROS, exact_of_structured, structured_batches, structured_images
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
    answer), other values in the same memory, NaN, another batch size, other weights, a second program that holds these.
    Constant images and equal ones must get what the reference makes of them. Weights and running statistics are read
    back and compared bit for bit where the backend tells them, and at inference statistics must not move. Where a call
    is wrong, all steps up to it are done again to prefixes of the program, which says at which node.
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
        examination = _Examination(session, memoizing, oracle, answers)
        found = examination.outcome()
    finally:
        session.close()
    if found.status != "failed":
        return found
    if (array := examination.wrong_array) is not None:
        return found.model_copy(update={"node": weight_parts(array)[0]})
    return with_node(found, subject, oracle, lambda: [recorded_program(oracle, examination.recording)])


class _Examination(CalledProgram):
    """What is done to one program, until a step finds something: of an array, where one is wrong itself."""

    def __init__(self, session: RecordedSession, subject: MemoizingSubject, oracle: Oracle, answers: Answers) -> None:
        super().__init__(session, subject, oracle.case, answers)
        self._recorded, self._opens, self._oracle = session, subject, oracle
        self.recording: StepsDone = session.recording
        self.wrong_array: str | None = None

    def outcome(self) -> CheckOutcome:
        """Failed at the first step that finds something."""
        for step, found in self._steps():
            if found is None:
                continue
            details = self.details | {"step": step} | ({"problem": found.problem} if found.problem else {})
            if found.image is not None:
                details["image"] = found.image
            self.wrong_array, text = found.array, f"{step}: {found.text}"
            return CheckOutcome(name=NAME, status="failed", budget_used=found.share, message=text, details=details)
        share, calls = self._answers.largest_share, self.details["calls"]
        text = f"{calls} calls of one program agree, {share:.3g} of the envelope at most"
        return CheckOutcome(name=NAME, status="passed", budget_used=share, message=text, details=self.details)

    def _steps(self) -> Steps:
        case, session = self._case, self._session
        first = dict(case.inputs)
        turned = rotated(case, first)
        session.load(case.stored)
        if not _is_brief(case):
            yield "weights read back after loading", self.read_back(case.stored)
        session.upload("first", first)
        yield from self.called("first", first, "first input", 1)
        session.upload("second", turned)
        if not _is_brief(case):
            yield from self.called("first", first, "same input again", self._calls)
            yield from self.called("second", turned, "images in another order", 1)
            yield from self.called("first", first, "first input after another", 1)
        if session.overwrite("first", "second"):
            yield from self.called("first", turned, "other values in the operands' own memory", 1)
        session.upload("second", turned)
        session.upload("first", turned)
        yield from self.called("first", turned, "other values in the same memory of the host", 1)
        session.upload("first", first)
        if not _is_brief(case):
            yield from self.called("first", first, "the first values there again", 1)
        session.upload("second", {n: np.full_like(a, np.nan) if a.dtype.kind == "f" else a for n, a in first.items()})
        try:
            self.run("second", 1)
        except Exception as error:  # a program may refuse NaN, such as boxes without a size
            self.details["refuses_nan"] = type(error).__name__
        if not _is_brief(case):
            yield from self.called("first", first, "after a call on NaN", 2)
        yield from self._structured()
        yield from self._reloaded(first, turned)
        yield from self._sizes(first)
        if not _is_brief(case):
            yield "weights read back at the end", self.read_back(case.stored)

    @property
    def _calls(self) -> int:
        little = self._case.lowered.macs(self._case.size) <= LITTLE_MACS
        return MANY_CALLS if little or self._case.thorough else FEW_CALLS

    def _structured(self) -> Steps:
        """Constant images, one with a single other value, and equal ones; few kinds of a large network."""
        case, images = self._case, _images(self._case)
        exact = exact_of_structured(self._oracle, images)
        for kind, outputs in exact.items():
            self._answers.learn(images_of(case.graph, images[kind]), outputs)
        for step, batch in structured_batches(case, {kind: images[kind] for kind in exact}):
            self._session.upload("second", batch)
            yield from self.called("second", batch, step, 1, unusual=True)

    def _reloaded(self, first: Arrays, turned: Arrays) -> Steps:
        """Other weights, and the right ones again; then the others in a second program."""
        case, session, step = self._case, self._session, "other weights loaded"
        if case.options.own is not None:
            self.details["not_reloaded"] = "the user's own program keeps its weights"
            return
        other = {name: in_reverse(array) for name, array in case.stored.items()}
        weights, _ = split_state(case.graph, case.stored)
        if all(np.array_equal(other[name], array) for name, array in weights.items()):
            return
        before = self.first or self.run("first", 1)
        session.load(other)
        yield step, self.read_back(other)
        after, fresh = self.run("first", 1), outputs_of_another(self._subject, case, other, first)
        differ = any(not gap <= self._answers.admitted[n] for n, gap in distances(before.result.outputs, fresh).items())
        if differ and after.digests[-1] == before.digests[-1] and any(map(_varies, before.result.outputs.values())):
            yield step, Disagreement(np.inf, "the outputs are those of the weights before, bit for bit")
        usual = largest(self.first.result.outputs) if self.first else {}
        yield step, unlike_another(after.result.outputs, fresh, usual, self._answers.admitted)
        session.load(case.stored)
        yield "the first weights loaded again", self.read_back(case.stored)
        yield from self.called("first", first, "the first weights loaded again", 1)
        with closing(self._opens.open(case.graph, replace(case.options, training=False))) as second:
            second.after_another(case.stored, first)
            second.load(other)
            second.upload("second", turned)
            second.run("second")
            self._recorded.after_another(other, turned)
            yield from self.called("first", first, "once a second program holds other weights", 1)
            yield "once a second program holds other weights", self.read_back(case.stored)
            second.upload("second", first)
            got, step = second.run("second").result.outputs, "a second program with other weights"
            wrong = unlike_another(got, fresh, usual, self._answers.admitted)
            self.recording = self.recording if wrong is None else second.recording
            yield step, wrong
        yield from self.called("first", first, "once the second program is closed", 1)

    def _sizes(self, first: Arrays) -> Steps:
        """Batches of other sizes, made of the images whose answers are known."""
        case = self._case
        batched = [item.name for item in case.graph.inputs if item.batched]
        if not batched or not case.size or (case.options.own is not None and case.options.own.batch is not None):
            return
        for size in case.sizes:
            order = np.arange(size) % case.size
            try:
                case.graph.shapes(size)
            except SpecError as error:  # such as boxes that do not divide among so many images
                self.details["not_sized"] = f"a batch of {size}: {in_one_line(error)}"
                continue
            batch = {name: array[order] if name in batched else array for name, array in first.items()}
            self._session.upload("sized", batch)
            yield from self.called("sized", batch, f"a batch of {size}", 2)
        yield from self.called("first", first, "first batch after those of other sizes", 1)


def _varies(output: Array) -> bool:
    return output.dtype.kind == "f" and bool(np.ptp(output) > 0) if output.size else False


def _is_brief(case: Case) -> bool:
    """Whether steps are left out that the timing of a large network repeats, or that later steps contain."""
    return not case.thorough and not case.sizes and case.lowered.macs(case.size) > LARGE_MACS


def _images(case: Case) -> dict[str, Arrays]:
    images = structured_images(case)
    return {kind: image for kind, image in images.items() if kind in (ZEROS, MEAN) or not _is_brief(case)}


def prefetch_timed(oracle: Oracle) -> None:
    """Has the oracle compute the outputs and their envelope, and those of structured images."""
    forward_envelope(oracle)
    exact_of_structured(oracle, _images(oracle.case))
