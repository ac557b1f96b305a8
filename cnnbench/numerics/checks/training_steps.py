"""The steps of one program that the training check examines, and how each compares with the reference or another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.host import SlotName
from cnnbench.numerics.blocks import finite_difference
from cnnbench.numerics.calibration import LOSS, MANY, Envelope, num_runs
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks.frozen_elements import FrozenElements
from cnnbench.numerics.comparison import examine, largest
from cnnbench.numerics.crossings import Values, share
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.rounding import stored_loss
from cnnbench.numerics.subject import START, Subject, TrainedStep, Updates
from cnnbench.numerics.training_course import Course, course, values_of
from cnnbench.numerics.training_crossings import course_crossings
from cnnbench.training.steps import HELD, HELD_SHORT, TrainingSteps

Array = NDArray[Any]


@dataclass(frozen=True)
class StepPlan:
    """The steps of the one program that is examined.

    For example, of 2 first steps, 4 held ones and 1 late one: steps 0 and 1 are compared with the reference; steps 2 to
    5, at the rate 0, read the batch of step 1, so that their losses are the same; step 6 is the late one; step 7 takes
    it again from the state after step 5; steps 8 and 9 are the first ones again, from the start.

    Args:
        first, held, late, again: How many steps each part has; the late part is there twice.
    """

    updates: Updates
    first: int
    held: int
    late: int
    again: int

    @staticmethod
    def of(case: Case, training: TrainingSteps) -> StepPlan:
        little = num_runs(case) == sum(MANY)
        first, late = len(training.rates), len(training.later)
        held = training.held if training.held is not None else HELD if little else HELD_SHORT
        again = first if little else 1
        resumed = first + held + late
        reads = [*range(first), *[first - 1] * held, *[(first - 1 + i) % first for i in range(late)] * 2, *range(again)]
        updates = Updates(
            case.loss,
            training.optimizer,
            (*training.rates, *(0.0,) * held, *training.later * 2, *training.rates[:again]),
            reads=reads,
            loads={resumed: first + held - 1, resumed + late: START},
            kept={*range(first), resumed - 1, resumed + late - 1, *range(resumed + late, len(reads))},
        )
        return StepPlan(updates, first, held, late, again)

    @property
    def resumed(self) -> int:
        """The step that goes on from the state before the late part."""
        return self.first + self.held + self.late

    def again_from(self, step: int) -> int:
        """Which of the first steps this one repeats; negative where it repeats none."""
        return step - self.resumed - self.late


@dataclass
class StepsVerdict:
    """How a subject's steps compare so far: the largest share of an envelope, where, and what is beyond one."""

    used: float = 0.0
    name: str | None = None
    where: str = ""
    text: str = "nothing was compared"
    problem: str | None = None
    compared: int = 0
    ended: int = 0
    factor: float = 0.0
    steps: int = 0
    taken: int = 0
    rates: tuple[float, ...] = ()
    beyond: set[str] = field(default_factory=set)

    def take(self, name: str, share: float, where: str) -> None:
        """Counts a comparison.

        Args:
            name: Of the value.
            share: Of its envelope.
            where: At which step, in words.
        """
        self.compared += 1
        if not share <= 1:
            self.beyond.add(name)
        if self.name is None or not share <= self.used:
            self.used, self.name, self.where = share, name, where
            self.text = f"{name} uses {share:.3g} of the envelope"

    def freeze(self, name: str, text: str, where: str) -> None:
        """An element of a value does not move.

        Args:
            name: Of the value.
            text: Which element, in words.
            where: At which step, in words.
        """
        self.used, self.name, self.where, self.text = np.inf, name, where, text
        self.beyond.add(name)

    def end(self, name: str, problem: str, text: str, where: str) -> None:
        """A value cannot be compared.

        Args:
            name: Of the value.
            problem: As ``CheckOutcome`` has it.
            text: The problem in words.
            where: At which step, in words.
        """
        self.used, self.name, self.where = np.inf, name, where
        self.problem, self.text = problem, f"{name}: {text}"


def compare_steps(subject: Subject, oracle: Oracle) -> StepsVerdict:
    """Runs a case's steps on a subject, up to the first that is outside."""
    case = oracle.case
    found = course(oracle)
    verdict = StepsVerdict(steps=len(found.exact), rates=found.training.rates)
    if not found.exact:
        return verdict
    verdict.factor = max(envelope.factor for envelope in found.envelopes)
    verdict.ended = len(found.exact[0]) - len(found.open_names[-1])
    plan = StepPlan.of(case, found.training)
    verdict.taken = len(plan.updates.rates)
    options = replace(case.options, training=True, fold_batch_norm=False)
    batches = [case.training_batch(step) for step in range(plan.first)]
    # Closed before the end where a value is wrong, so that the program and what it holds go.
    with closing(subject.steps(case.graph, case.stored, batches, options, plan.updates)) as steps:
        judge = _StepJudge(oracle, found, plan, verdict, cache(lambda: course_crossings(oracle, found)))
        i = 0
        for step in steps:  # not enumerated, which keeps a step while the next one is made
            judge.see(i, step)
            if not verdict.used <= 1:
                break
            i += 1  # noqa: SIM113
            del step
    return verdict


@dataclass
class _StepJudge:
    """Compares the steps of a program as they come."""

    oracle: Oracle
    course: Course
    plan: StepPlan
    verdict: StepsVerdict
    moves: Callable[[], list[dict[str, float]]]
    _losses: dict[int, float] = field(default_factory=dict)
    _late: dict[str, Array] | None = None
    _frozen: FrozenElements = field(init=False)

    def __post_init__(self) -> None:
        case = self.oracle.case
        trained = [spec.name for spec in case.lowered.named_weights() if spec.trainable]
        self._frozen = FrozenElements(case.policy.storage_roundoff, {name: case.stored[name] for name in trained})

    def see(self, i: int, step: TrainedStep) -> None:
        """Compares one step."""
        plan, again = self.plan, self.plan.again_from(i)
        self._losses[i] = step.loss
        if i < plan.first:
            self._judge(values_of(step), self.course.exact[i], f"after step {i + 1}", i)
            self._frozen_at(i, step)
        elif again >= 0:
            where = f"after step {again + 1}, taken again as step {i + 1} of its program"
            self._judge(values_of(step), self.course.exact[again], where, again)
        elif i <= plan.first + plan.held:
            self._still(i)
        if plan.resumed <= i < plan.resumed + plan.late:
            self._resumed(i, step)
        elif i == plan.resumed - 1 and plan.late:
            self._late = values_of(step)

    def _frozen_at(self, i: int, step: TrainedStep) -> None:
        """No element of a weight stays as it was while the reference moves it."""
        if not self.verdict.used <= 1:
            return
        names = self.course.open_names[i]
        element = self._frozen.see(values_of(step), self.course.exact[i], names)
        if element is not None:
            name, place = element
            shown = f"{name}[{', '.join(map(str, place))}]"
            text = f"{shown} is as it was before the first step, and the reference moves it at each"
            self.verdict.freeze(name, text, f"after step {i + 1}")

    def _still(self, i: int) -> None:
        """The loss stays as long as the rate is 0."""
        first = self.plan.first
        if i > first:
            where = f"at step {i + 1}, as all since step {first + 1} from the same weights and batch"
            now, before = ({LOSS: np.asarray(self._losses[step])} for step in (i, first))
            self._judge(now, before, where)

    def _resumed(self, i: int, step: TrainedStep) -> None:
        """A late step taken again from the same state gives the same."""
        earlier = i - self.plan.late
        where = f"at step {earlier + 1} of its program and taken again from the same state"
        if step.training is None:
            values, before = {LOSS: np.asarray(step.loss)}, {LOSS: np.asarray(self._losses[earlier])}
        else:
            values, before = values_of(step), self._late or {}
        self._judge(values, before, where, envelope=self._grown(before))
        if step.training is not None:
            self._late = None  # a large network's state is gigabytes

    def _grown(self, values: Mapping[str, Array]) -> Envelope:
        """The last envelope, wider by as much as the slots, and with them a step, have grown since then."""
        envelope, then, now = self.course.envelopes[-1], largest(self.course.exact[-1]), largest(values)
        known = self.course.open_names[-1] & values.keys()
        counters = self.course.training.optimizer.counters
        slots = [name for name in known if isinstance(name, SlotName) and name.slot not in counters]
        ratios = [now[name] / then[name] for name in slots if then[name] > 0]
        rates, later = max(self.course.training.rates), max(self.course.training.later)
        growth = max(1.0, *ratios) * max(1.0, later / rates) if ratios and rates else 1.0
        return Envelope({name: growth * size for name, size in envelope.size.items()}, envelope.factor)

    def _judge(
        self, got: Values, exact: Values, where: str, number: int = -1, envelope: Envelope | None = None
    ) -> None:
        """Compares what is open after a step, the last one that the reference takes unless another is named."""
        around = envelope or self.course.envelopes[number]
        for name, difference in self._differences(got, exact, where):
            if name in self.course.open_names[number]:
                self.verdict.take(name, share(around, name, difference, self.moves, number), where)

    def _differences(
        self, got: Mapping[str, Array], exact: Mapping[str, Array], where: str
    ) -> Iterator[tuple[str, float]]:
        """The largest difference of each value; ends at one that cannot be compared."""
        for name in sorted(exact):
            value, right = got.get(name), np.asarray(exact[name])
            if value is not None and name == LOSS:  # the policy stores no loss
                value = stored_loss(float(value), self.oracle.case.policy)
            problem, text = examine(value, right.shape, self.oracle.case.policy, right)
            if problem is not None or value is None:
                self.verdict.end(name, str(problem), text, where)
                return
            yield name, finite_difference(value, right)
