"""What a training program should come to: the reference's rounds, phase by phase, and how far rounding moves them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.host import SlotName
from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.numerics.calibration import FEW, FLUSHED, LOSS, LOSS_SAFETY, MANY, SAFETY, Envelope, calibrate, joined
from cnnbench.numerics.case import Case
from cnnbench.numerics.comparison import largest, largest_differences
from cnnbench.numerics.crossings import Observer, Start, observed, reach
from cnnbench.numerics.noise import Noises, noise, one_rounding
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.spec.losses import Objective
from cnnbench.spec.streams import stream
from cnnbench.training.programs.program import Phase
from cnnbench.training.programs.runner import ProgramRunner, ProgramState, compiled_on
from cnnbench.training.steps import TrainingSteps

Array = NDArray[Any]
Values = dict[str, Array]
AVERAGE = "average"
OF_UPDATE = 10  # roundings of Adam, the longest rule: 3 of the mean, 4 of the square of which the root halves each, the
# two corrections, the root, the sum with epsilon, the quotient and the product with the rate; 1 is the weight's own


@dataclass(frozen=True)
class Taken:
    """What is held after one phase of one round.

    Args:
        round: From 0. phase: its name; ``average`` for the averages at the round's end.
        values: Weights and running statistics by full name, slots and averages by their
            ``SlotName``, and the phase's loss as ``loss``.
    """

    round: int
    phase: str
    values: Values


def taken(runner: ProgramRunner, rounds: int, start: ProgramState | None = None) -> Iterator[Taken]:
    """The phases of a runner's rounds, each with what is held after it.

    Args:
        runner: Of the program.
        rounds: How many.
        start: What it begins with; None for the initial weights.
    """
    runner.load(start)
    for at in range(rounds):
        for number, phase in enumerate(runner.program.phases):
            loss = runner.take(number, runner.batch(number, at))
            yield Taken(at, phase.name, {**_values(runner.snapshot()), LOSS: np.asarray(loss)})
        runner.end_round()
        if runner.averages:
            yield Taken(at, AVERAGE, {SlotName(name, AVERAGE): array for name, array in runner.averages.items()})


def _values(state: ProgramState) -> Values:
    held = ((phase, name, array) for phase, slots in state.slots.items() for name, array in slots.items())
    return state.arrays | {SlotName(name.weight, name.slot, phase): array for phase, name, array in held}


def exact_rounds(runner: ProgramRunner, rounds: int) -> list[Taken]:
    """The same rounds on the reference in float64."""
    compiler = compiled_on(reference().subject.backend, reference_options(training=True))
    return list(taken(ProgramRunner(runner.program, compiler, runner.settings, runner.data), rounds))


def envelopes(runner: ProgramRunner, exact: list[Taken], rounds: int, policy: PrecisionPolicy) -> list[Envelope]:
    """How far each value may lie from the exact one after each phase.

    Args:
        runner: Of the program that is examined; only its program, settings and data are read.
        exact: Of ``exact_rounds``.
        rounds: How many.
        policy: The arithmetic that is examined.
    """
    noises = _noises(runner, policy)
    apart = [
        [largest_differences(moved.values, right.values) for moved, right in zip(run, exact, strict=True)]
        for run in (list(_perturbed(runner, noises, rounds, number)) for number in range(sum(MANY)))
    ]
    statistics = {spec.name for phase in runner.program.phases for spec in phase.graph.named_state()}
    u = policy.storage_roundoff
    scales = _roundings(exact, runner.program.initial(runner.settings.seed))
    return [
        _envelope(right, [run[i] for run in apart], statistics, {name: u * scale for name, scale in scales[i].items()})
        for i, right in enumerate(exact)
    ]


def _roundings(exact: list[Taken], initial: Mapping[str, Array]) -> list[dict[str, float]]:
    """After each phase, what one roundoff is worth of each value.

    It is the value's size once for each phase in which it was stored, and ``OF_UPDATE`` times the way that it has
    gone: a weight that starts at 0 holds nothing but what its update rule computed.
    """
    before = dict(initial) | {SlotName(name, AVERAGE): array for name, array in initial.items()}
    gone: dict[str, float] = {}
    found = []
    for i, taken_there in enumerate(exact):
        sizes = largest(taken_there.values)
        for name, value in taken_there.values.items():
            if name in before:
                gone[name] = gone.get(name, 0.0) + float(np.max(np.abs(value - before[name]), initial=0.0))
                before[name] = value
        found.append({name: size * (i + 1) + OF_UPDATE * gone.get(name, 0.0) for name, size in sizes.items()})
    return found


def _noises(runner: ProgramRunner, policy: PrecisionPolicy) -> dict[str, tuple[Case, Noises]]:
    arrays, found = runner.program.initial(runner.settings.seed), {}
    for number, phase in enumerate(runner.program.phases):
        own = {spec.name: arrays[spec.name] for spec in (*phase.graph.named_weights(), *phase.graph.named_state())}
        steps = TrainingSteps(phase.optimizer, Objective())
        batch, how = runner.program.batch(number, runner.settings.batch, runner.data, runner.settings.seed, 0), policy
        options = ProgramOptions("reference", how, training=True)
        case = Case(phase.graph, own, batch, options, seed=runner.settings.seed, training=steps)
        found[phase.name] = case, Noises.of(case)
    return found


class _NoisyRunner(ProgramRunner):
    """A runner each of whose values is moved by noise of the size of its budget."""

    noises: Mapping[str, tuple[Case, Noises]]
    number = 0

    def batch(self, number: int, at: int) -> dict[str, Array]:
        case, noises = self.noises[self.program.phases[number].name]
        return {**super().batch(number, at), **noise(case, noises.budgets, self.number, at)}


def _perturbed(
    runner: ProgramRunner,
    noises: Mapping[str, tuple[Case, Noises]],
    rounds: int,
    number: int,
    observer: Observer | None = None,
) -> Iterator[Taken]:
    with ExitStack() as stack:

        def compile_phase(phase: Phase) -> Any:
            found = noises[phase.name][1]
            generator = stream(runner.settings.seed, f"reverse noise {number}", phase.name)
            subject = stack.enter_context(found.reverse.perturbed(generator))
            if observer is not None:
                stack.enter_context(observed(subject.backend, observer))
            options = reference_options(training=True)
            return compiled_on(subject.backend, options)(replace(phase, graph=found.graph))

        noisy = _NoisyRunner(runner.program, compile_phase, runner.settings, runner.data)
        noisy.noises, noisy.number = noises, number
        moved = {name: array for case, _ in noises.values() for name, array in one_rounding(case, number).items()}
        start = {**runner.program.initial(runner.settings.seed), **moved}
        yield from taken(noisy, rounds, ProgramState(start))


def program_crossings(
    runner: ProgramRunner, exact: Sequence[Taken], rounds: int, policy: PrecisionPolicy
) -> list[dict[str, float]]:
    """How far crossings move each value after each phase; () where there is none.

    Args:
        runner: Of the program.
        exact: Of ``exact_rounds``.
        rounds: How many.
        policy: The arithmetic that is examined.
    """
    noises = _noises(runner, policy)

    def right(observer: Observer) -> Iterator[Values]:
        backend = load_backend("numpy")
        with observed(backend, observer):
            compiler = compiled_on(backend, reference_options(training=True))
            again = ProgramRunner(runner.program, compiler, runner.settings, runner.data)
            yield from (item.values for item in taken(again, rounds))

    def noisy(number: int) -> Start:
        return lambda observer: (item.values for item in _perturbed(runner, noises, rounds, number, observer))

    return reach(right, [noisy(number) for number in range(FEW[0])], [item.values for item in exact])


def _envelope(exact: Taken, runs: list[dict[str, float]], statistics: set[str], floor: Mapping[str, float]) -> Envelope:
    scale = largest(exact.values)
    groups: dict[str, list[str]] = {}
    for name in exact.values:
        kind = "slot" if isinstance(name, SlotName) else "statistic" if name in statistics else "weight"
        groups.setdefault(LOSS if name == LOSS else kind, []).append(name)
    return joined(
        [
            calibrate(
                [{name: run[name] for name in names} for run in runs],
                {name: max(floor[name], FLUSHED) for name in names},
                {name: scale[name] for name in names},
                safety=LOSS_SAFETY if kind == LOSS else SAFETY,
            )
            for kind, names in groups.items()
        ]
    )
