"""What a timed program gives on changing inputs, compared with the oracle: it is the program that was checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnnbench.execution.host import HostArrays, grouped
from cnnbench.harness.passes.checks import case_of
from cnnbench.harness.passes.findings import Failure
from cnnbench.harness.suite.status import Status
from cnnbench.harness.worker.arrays import read_arrays

if TYPE_CHECKING:
    from cnnbench.harness.passes.facts import PassFacts
    from cnnbench.harness.suite.cell import Cell
    from cnnbench.harness.worker.pool import LoadedWorker
    from cnnbench.harness.worker.protocol.timing import CollectReply
    from cnnbench.numerics.answers import Answers, Disagreement
    from cnnbench.numerics.case import Case
    from cnnbench.numerics.same_choices import RightAnswers

Rows = tuple[tuple[int, ...], ...]

BYTES_A_ROUND = 8 * 2**20
MOST_INPUTS, LEAST_INPUTS = 8, 2
PROBLEMS: dict[str | None, Status] = {"nan": "nan", "wrong_shape": "wrong_shape", "wrong_dtype": "wrong_dtype"}


@dataclass
class TimedAnswers:
    """The inputs of one program's calls, and what they gave.

    Example: the stock is the images A, B of the check and C ... L. A cell of batch 8 is first called on the batch that
    its record names. Each round goes round over other windows of the stock: (A B C D E F G H), (B C D E F G H I) ...
    Every result is compared image by image: A and B with the oracle, the others with what they gave in another place.

    Args:
        images: A digest of each image of the stock; () where the network takes no batch.
        known: So many of the first are the check's.
        batch: Images of a call.
        inputs: Inputs of a round.
        answers: What is known of the images; None where the suite asks for no check that needs the oracle's outputs.
        exact: Gives the oracle's outputs for a batch of these images of the stock.
        choosing: Gives what is right for such a batch under the program's own choices; None of a network without any.
    """

    images: tuple[str, ...]
    known: int
    batch: int
    inputs: int
    answers: Answers | None
    exact: Callable[[Sequence[int]], HostArrays] | None = None
    choosing: Callable[[Sequence[int]], RightAnswers | None] | None = None
    compared: int = 0
    _windows: Iterator[tuple[int, ...]] = field(init=False)

    def __post_init__(self) -> None:
        self._windows = windows(len(self.images), self.batch, self.known)

    def rows(self, count: int | None = None) -> Rows:
        """The next inputs; () where the first is the only one."""
        if not self.images:
            return ()
        return tuple(next(self._windows) for _ in range(count or self.inputs))

    def last_rows(self) -> Rows:
        """An input for after the last sample: one that was not called, with an image of the check in another place."""
        if not self.images:
            return ()
        others = range(len(self.images) - 1, self.known - 1, -1)
        known = range(self.known - 1, -1, -1)
        return ((*others[: max(0, self.batch - self.known)], *known)[: self.batch],)

    def call(self, outputs: HostArrays, images: Sequence[str], when: str = "the first call") -> Failure | None:
        """Judges one call: the first, on the batch that the record names, or the last.

        Args:
            outputs: What it gave.
            images: What it was on.
            when: In a message.
        """
        return self._judged(when, outputs, images)

    def of(self, rows: Rows, found: CollectReply, arrays: HostArrays, when: str) -> Failure | None:
        """Judges what samples gave.

        Args:
            rows: The inputs that they went round over; () for the first input alone.
            found: What was collected.
            arrays: The file with it.
            when: In a message: ``round 2``.
        """
        if self.answers is None:
            return None
        if not found.num_read:
            return Failure(status="error", reason=f"the timed program, {when}: no result was read")
        if rows:
            for place, outputs in grouped(arrays).items():
                images = [self.images[i] for i in rows[int(place)]]
                failure = self._judged(f"{when}, input {int(place) + 1}", outputs, images)
                if failure is not None:
                    return failure
        for name, gap in found.deviation.items():
            share = gap / (2 * self.answers.admitted[name])
            if not share <= 1:
                text = f"output {name} of calls on one input is up to {gap:.3g} apart, {share:.3g} times the envelope"
                return Failure(status="mismatch", reason=f"the timed program, {when}: {text}")
        return None

    def _judged(self, when: str, outputs: HostArrays, images: Sequence[str]) -> Failure | None:
        if self.answers is None:
            return None
        found = self.answers.judge(images, outputs)
        self.compared += 1
        if found is None:
            return None
        wrong = ""
        if found.problem is None and (right := self._right(images)) is not None:
            found = self._under_choices(images, outputs, right)
            wrong = right.wrong
        elif found.problem is None and self._images_meet(outputs, images):
            self.answers = None  # whose rows are then no images' own
            return None
        return None if found is None else failure_of(found, when, wrong)

    def _right(self, images: Sequence[str]) -> RightAnswers | None:
        """What is right for a batch of a network that chooses; None for another one, or for images from elsewhere."""
        if self.choosing is None or not set(images) <= set(self.images):
            return None
        return self.choosing([self.images.index(image) for image in images])

    def _under_choices(self, images: Sequence[str], outputs: HostArrays, right: RightAnswers) -> Disagreement | None:
        """Judges a call anew, with the answers that were just worked out."""
        assert self.answers is not None
        for answer in right.answers:
            self.answers.learn(images, answer.exact, answer.envelope)
        return self.answers.judge(images, outputs)

    def _images_meet(self, outputs: HostArrays, images: Sequence[str]) -> bool:
        """Whether the reference gives the same for this very batch, as where a network takes a mean over images."""
        from cnnbench.numerics.session import distances

        if self.exact is None or self.answers is None or not set(images) <= set(self.images):
            return False
        admitted = self.answers.admitted
        gaps = distances(outputs, self.exact([self.images.index(image) for image in images]))
        return all(gap <= admitted.get(name, 0.0) for name, gap in gaps.items())


def failure_of(found: Disagreement, when: str, wrong: str = "") -> Failure:
    """A disagreement as the end of a cell.

    Args:
        found: The disagreement.
        when: In the message.
        wrong: What is wrong with a discrete choice, where one is.
    """
    reason = f"the timed program, {when}: {found.text}" + (f"; {wrong}" if wrong else "")
    return Failure(status=PROBLEMS.get(found.problem, "mismatch"), reason=reason)


def windows(count: int, batch: int, known: int) -> Iterator[tuple[int, ...]]:
    """Places of images in the stock, batch after batch, as many different ones as there are.

    Consecutive images first, from each place on; then each second one, and so on. Of single images the last known
    one is left for the end.

    Args:
        count: Images of the stock.
        batch: Images of a call.
        known: How many of the first have an answer by the oracle.
    """
    if batch == 1:
        places = [i for i in range(count) if i != known - 1 or count == 1]
        while True:
            yield from ((i,) for i in places)
    while True:
        for stride in (s for s in range(1, count) if math.gcd(s, count) == 1):
            for start in range(count):
                yield tuple((start + stride * i) % count for i in range(batch))


def timed_answers(facts: PassFacts, cell: Cell, loaded: LoadedWorker) -> TimedAnswers:
    """What a cell's timed program is called on, and what its calls are compared with.

    Args:
        facts: Of the pass.
        cell: The cell.
        loaded: The worker that holds its program.
    """
    from cnnbench.numerics.answers import images_of

    known, materials = facts.suite.checks.batch, facts.materials
    material = materials.of(cell)
    stock = materials.stock(cell, known)
    images: tuple[str, ...] = ()
    size = 0
    if stock is not None:
        arrays = read_arrays(stock)
        size = sum(array[0].nbytes for array in arrays.values()) * cell.batch
        key = ("images", stock)
        if key not in materials.memo:
            shared = {name: array for name, array in read_arrays(material.batch).items() if name not in arrays}
            materials.memo[key] = tuple(images_of(material.graph, {**shared, **arrays}))
        images = materials.memo[key]
    inputs = max(LEAST_INPUTS, min(MOST_INPUTS, BYTES_A_ROUND // max(size, 1)))

    on = partial(_on_rows, facts, cell, stock)

    def exact(rows: Sequence[int]) -> HostArrays:
        from cnnbench.numerics.reference import reference, reference_options

        case = on(rows)
        return reference().subject.forward(case.lowered, case.stored, case.inputs, reference_options()).outputs

    def choosing(rows: Sequence[int]) -> RightAnswers | None:
        from cnnbench.harness.passes.worker_subject import WorkerSubject
        from cnnbench.numerics.same_choices import right_answers
        from cnnbench.numerics.subject import composites_among

        subject = WorkerSubject(loaded.worker, facts.suite.timeouts.call_s, loaded.kinds, loaded.special_gaps)
        return right_answers(subject, replace(on(rows), whole=composites_among(loaded.kinds)))

    return TimedAnswers(images, known, cell.batch, inputs, _answers(facts, cell, loaded), exact, choosing)


def _on_rows(facts: PassFacts, cell: Cell, stock: Path | None, rows: Sequence[int]) -> Case:
    """The case of a cell on images of its stock."""
    chosen = {name: array[list(rows)] for name, array in read_arrays(stock).items()} if stock else {}
    batch = {**read_arrays(facts.materials.of(cell).batch), **chosen}
    return replace(case_of(facts, cell), batch=batch, targets=None)


def _answers(facts: PassFacts, cell: Cell, loaded: LoadedWorker) -> Answers | None:
    from cnnbench.numerics.answers import Answers, images_of
    from cnnbench.numerics.envelope import forward_envelope
    from cnnbench.numerics.oracle import Oracle
    from cnnbench.numerics.subject import composites_among

    if cell.program_key not in facts.proven or facts.time_wrong_numbers:
        return None
    memo, whole = facts.materials.memo, composites_among(loaded.kinds)
    key = ("outputs", *cell.network_key, cell.precision, whole)
    if key not in memo:
        case = replace(case_of(facts, cell), whole=whole)
        exact, envelope = forward_envelope(Oracle.of(case))
        memo[key] = (exact, envelope, images_of(case.graph, case.inputs), case.policy)
    exact, envelope, images, policy = memo[key]
    if not all(np.isfinite(value).all() for value in exact.values()):
        return None
    answers = Answers(facts.materials.of(cell).graph, policy, envelope)
    answers.learn(images, exact)
    return answers
