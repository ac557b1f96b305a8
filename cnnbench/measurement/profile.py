"""Where the time of a forward pass goes: each step's time over rounds, beside its work and the machine's limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from cnnbench.execution.compiled import ForwardProgram, WatchedPass
from cnnbench.execution.layout_change import LayoutChange
from cnnbench.execution.program import BoundStep
from cnnbench.measurement.clock import MACHINE, Clock
from cnnbench.spec.graph import Graph, value_names

VIEWS = ("indexing", "regularization", "shape")  # families whose outputs may be their inputs' memory
WARM_UP = 2


@dataclass(frozen=True)
class StepWork:
    """What one step has to do.

    Args:
        name: Of its first node, or ``<value>@<layout>`` for a change of layout.
        kind: Of its first node.
        members: The names of the nodes that it computes.
        algorithm: Which one the backend chose; empty where it has one for the kind.
        macs: Multiply-accumulates by the layers' definitions, attention's included, whatever the algorithm saves.
        bytes: Of the weights, inputs and outputs, each counted once; None where an output may be a view of an input.
    """

    name: str
    kind: str
    members: tuple[str, ...]
    algorithm: str
    macs: int
    bytes: int | None


@dataclass(frozen=True)
class ProfiledStep:
    """A step and its time in each round, in seconds."""

    work: StepWork
    times_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """The median over the rounds."""
        return median(self.times_s)

    @property
    def quartiles_s(self) -> tuple[float, float]:
        """The first and the third quartile over the rounds."""
        if len(self.times_s) < 2:
            return self.times_s[0], self.times_s[0]
        low, _, high = quantiles(self.times_s, n=4, method="inclusive")
        return low, high


@dataclass(frozen=True)
class Profile:
    """The steps of a forward pass.

    Args:
        steps: In the order in which they run.
        passes_s: Each round's whole pass with its steps watched.
        plain_s: Each round's whole pass as it is timed elsewhere, unwatched.
    """

    steps: tuple[ProfiledStep, ...]
    passes_s: tuple[float, ...]
    plain_s: tuple[float, ...]


def work_of(step: BoundStep, graph: Graph, batch: int, value_bytes: int) -> StepWork:
    """What a step of a bound program has to do.

    Args:
        step: Of the program.
        graph: The program's own, lowered and folded.
        batch: Images.
        value_bytes: Of one value.
    """
    if isinstance(step.layer, LayoutChange):
        return StepWork(step.name, step.layer.kind, (step.name,), step.algorithm, 0, None)
    return node_work(graph, step.members or (step.name,), batch, value_bytes, step.algorithm)


def node_work(graph: Graph, members: Sequence[str], batch: int, value_bytes: int, algorithm: str = "") -> StepWork:
    """What nodes have to do that are computed at once.

    Args:
        graph: Theirs.
        members: Their names, in order; the last one's outputs are those of the step.
        batch: Images.
        value_bytes: Of one value.
        algorithm: Which the backend chose.
    """
    nodes = [graph.node(name) for name in members]
    macs, weights, produced, values = 0, 0, set[str](), set[str]()
    for node in nodes:
        inputs, outputs = graph.input_shapes(node, batch), graph.output_shapes(node, batch)
        macs += node.layer.macs(inputs, outputs) + node.layer.macs_attention(inputs, outputs)
        arrays = (*node.layer.weights(inputs), *node.layer.state(inputs))
        weights += sum(math.prod(array.shape) for array in arrays)
        produced |= set(value_names(node.name, len(outputs)))
        values |= set(node.inputs)
    values -= produced
    values |= set(value_names(nodes[-1].name, len(graph.output_shapes(nodes[-1], batch))))
    shapes = graph.shapes(batch)
    moved = (weights + sum(math.prod(shapes[value]) for value in values)) * value_bytes
    is_view = all(node.layer.family in VIEWS for node in nodes)
    first = nodes[0]
    return StepWork(first.name, first.layer.kind, tuple(members), algorithm, macs, None if is_view else moved)


def limit_s(work: StepWork, gflop_per_s: float, gb_per_s: float) -> float | None:
    """The roofline: the time that the products or the bytes alone would take at the machine's speed; None for a view.

    Args:
        work: Of the step.
        gflop_per_s: Of a matrix product, two operations for each multiply-accumulate.
        gb_per_s: Of a copy, bytes read and bytes written counted.
    """
    if work.bytes is None:
        return None
    return max(2 * work.macs / (gflop_per_s * 1e9), work.bytes / (gb_per_s * 1e9))


class _Ticks:
    """The moment at which each step of a pass ends."""

    def __init__(self, synchronize: Callable[[], object], clock: Clock) -> None:
        self.synchronize = synchronize
        self.clock = clock
        self.moments: list[float] = []

    def __call__(self, number: int) -> None:
        self.synchronize()
        self.moments.append(self.clock.now())


def profile_pass(
    program: ForwardProgram,
    operands: Any,
    describe: Callable[[BoundStep, Graph], StepWork],
    synchronize: Callable[[], object],
    *,
    rounds: int,
    clock: Clock = MACHINE,
) -> Profile | None:
    """Times the steps of a program in passes that run them all; None where it has no steps to watch.

    A step lasts from the end of the one before it, the first from the pass' beginning, so that the steps' times add up
    to the pass up to what follows the last one. Each round also times one pass that is not watched.

    Args:
        program: Loaded.
        operands: Of ``program.upload``.
        describe: What a step of the program's graph has to do.
        synchronize: Waits for the device.
        rounds: How many; two more passes come before them.
        clock: For tests.
    """
    ticks = _Ticks(synchronize, clock)
    watched = program.watched(operands, ticks)
    if watched is None:
        return None
    for _ in range(WARM_UP):
        watched.run()
        program.run(operands)
    synchronize()
    steps: list[list[float]] = [[] for _ in watched.program.steps]
    passes, plain = [], []
    for _ in range(rounds):
        passes.append(_watched_pass(watched, ticks, steps))
        plain.append(_duration(lambda: program.run(operands), synchronize, clock))
    bound = watched.program
    found = [ProfiledStep(describe(s, bound.graph), tuple(times)) for s, times in zip(bound.steps, steps, strict=True)]
    return Profile(tuple(found), tuple(passes), tuple(plain))


def _watched_pass(watched: WatchedPass, ticks: _Ticks, steps: Sequence[list[float]]) -> float:
    """The duration of a pass; each step's is appended to its list."""
    ticks.moments.clear()
    start = previous = ticks.clock.now()
    watched.run()
    ticks.synchronize()
    end = ticks.clock.now()
    for times, moment in zip(steps, ticks.moments, strict=True):
        times.append(moment - previous)
        previous = moment
    return end - start


def _duration(call: Callable[[], object], synchronize: Callable[[], object], clock: Clock) -> float:
    start = clock.now()
    call()
    synchronize()
    return clock.now() - start


def profile_alone(
    calls: Sequence[tuple[StepWork, Callable[[], object]]],
    whole: Callable[[], object],
    synchronize: Callable[[], object],
    *,
    rounds: int,
    clock: Clock = MACHINE,
) -> Profile:
    """Times programs of one layer each, and the program of the whole network, one call of each in every round.

    Args:
        calls: What each layer has to do, and one run of it; layers that share a run have the same one.
        whole: One run of the whole network.
        synchronize: Waits for the device.
        rounds: How many; two more calls of each come before them.
        clock: For tests.
    """
    runs = list(dict.fromkeys(run for _, run in calls))
    for run in (*runs, whole) * WARM_UP:
        run()
        synchronize()
    times: dict[Callable[[], object], list[float]] = {run: [] for run in runs}
    plain = []
    for _ in range(rounds):
        for run in runs:
            times[run].append(_duration(run, synchronize, clock))
        plain.append(_duration(whole, synchronize, clock))
    return Profile(tuple(ProfiledStep(work, tuple(times[run])) for work, run in calls), (), tuple(plain))
