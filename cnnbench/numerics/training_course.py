"""What a training should come to: the reference's course over some steps, and how far rounding moves it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.host import SlotName
from cnnbench.numerics.blocks import largest_difference
from cnnbench.numerics.cache_entry import CacheEntry
from cnnbench.numerics.calibration import (
    ENDS_AT,
    FLUSHED,
    LOSS,
    LOSS_SAFETY,
    SAFETY,
    Envelope,
    calibrate,
    joined,
    num_runs,
)
from cnnbench.numerics.case import Case
from cnnbench.numerics.comparison import largest, largest_differences
from cnnbench.numerics.noise import Noises, noise, one_rounding, perturbed_precision
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.numerics.rounding import largest_value
from cnnbench.numerics.subject import TrainedStep, Updates
from cnnbench.spec.streams import stream
from cnnbench.training.steps import TrainingSteps

Array = NDArray[Any]
SHRINKS = (1.0, 0.1, 0.01)  # of the step size, where a training leaves the range of its numbers


@dataclass(frozen=True)
class Course:
    """The exact course of a training from a case's arrays, and the envelopes of its values.

    Values are weights, running statistics, slots by their ``SlotName``, and the loss before the step as ``loss``.

    Args:
        training: The steps, with the step size at which the course stays in range.
        exact: The values after each step, by name.
        envelopes: Of each step.
        open_names: The values that can be compared after each step.
    """

    training: TrainingSteps
    exact: list[dict[str, Array]]
    envelopes: list[Envelope]
    open_names: list[set[str]]


def values_of(step: TrainedStep) -> dict[str, Array]:
    """Everything that a step gives, by name."""
    parts = step.training or ()
    return {name: array for part in parts for name, array in part.items()} | {LOSS: np.asarray(step.loss, np.float64)}


def course(oracle: Oracle) -> Course:
    """The course of a case's training; of no steps where even a small step leaves the range of the policy's numbers."""
    case = oracle.case
    asked = replace(case.training, later=(), held=None)
    key = case.key("training", training=asked, loss=case.loss, labels=case.labels.tolist())
    entry = oracle.cache.entry(key, lambda entry: _fill(entry, case))
    names = _names(case)
    steps, factor = int(entry.read("steps")), float(entry.read("factor"))
    exact = [{name: entry.read(f"{step}.{i}") for i, name in enumerate(names)} for step in range(steps)]
    runs = [
        [dict(zip(names, map(float, entry.read(_deviations(run, step))), strict=True)) for run in range(num_runs(case))]
        for step in range(steps)
    ]
    envelopes = [_envelope(case, values, runs[step], step) for step, values in enumerate(exact)]
    left, open_names = set(names), []
    start = {**_start_of_slots(case), **case.stored}
    for values, envelope in zip(exact, envelopes, strict=True):
        left = left - _ended(left, start, values, envelope.size)
        open_names.append(left)
    scaled = case.training.scaled(factor)
    scaled = scaled if entry.read("goes_on") else replace(scaled, held=0, later=())
    return Course(replace(scaled, rates=scaled.rates[:steps]), exact, envelopes, open_names)


def _deviations(run: int, step: int) -> str:
    return f"deviations.{run}.{step}"


def _start_of_slots(case: Case) -> dict[str, Array]:
    rule = case.training.optimizer
    trained = [spec.name for spec in case.lowered.named_weights() if spec.trainable]
    return {SlotName(name, slot): np.asarray(rule.start(slot)) for name in trained for slot in rule.slots}


def _names(case: Case) -> list[str]:
    """All values by name, in the order in which an entry holds them."""
    graph = case.lowered
    weights = graph.named_weights()
    slots = [SlotName(spec.name, slot) for spec in weights if spec.trainable for slot in case.training.optimizer.slots]
    return sorted([spec.name for spec in (*weights, *graph.named_state())] + slots + [LOSS])


def _fill(entry: CacheEntry, case: Case) -> None:
    """Takes a smaller step where the course, or a perturbed run of it, leaves the range of the policy's numbers."""
    count, steps, goes_on, factor = len(case.training.rates), 0, True, SHRINKS[0]
    noises = None
    for factor in SHRINKS:
        scaled = replace(case, training=case.training.scaled(factor))
        steps, goes_on = _fill_exact(entry, scaled)
        if not steps:
            break  # the first gradient is out of range, whatever the step size
        if (steps < count or not goes_on) and factor != SHRINKS[-1]:
            continue
        noises = noises or Noises.of(case)
        for run in range(num_runs(case)):
            left = _fill_run(entry, scaled, run, noises, steps)
            steps, goes_on = left, goes_on or left < steps
        if steps == count:
            break
    entry.write("steps", np.asarray(steps))
    entry.write("goes_on", np.asarray(goes_on))
    entry.write("factor", np.asarray(factor))


def _updates(case: Case) -> Updates:
    return Updates(case.loss, case.training.optimizer, case.training.rates)


def _batches(case: Case) -> list[dict[str, Array]]:
    return [case.training_batch(step) for step in range(len(case.training.rates))]


def _fill_exact(entry: CacheEntry, case: Case) -> tuple[int, bool]:
    """Writes each state as soon as it is there; how many are in range, and whether a program can go on from the last.

    It cannot where the loss or the gradient there is out of range: 0 times an infinite gradient is no number.
    """
    subject, options = reference().subject, reference_options(training=True)
    most, count = largest_value(case.policy), len(case.training.rates)
    updates = replace(_updates(case), rates=(*case.training.rates, 0.0), reads=(*range(count), count - 1))
    with (
        np.errstate(over="ignore", invalid="ignore"),
        closing(subject.steps(case.lowered, case.stored, _batches(case), options, updates)) as steps,
    ):
        i = 0
        for step in steps:  # not enumerated, which keeps a step while the next one is made
            values = values_of(step)
            beyond = {name for name, size in largest(values).items() if not size <= most}
            if i and any(name == LOSS or isinstance(name, SlotName) for name in beyond):
                return i, False
            if beyond:
                return i, True
            for position, name in enumerate(_names(case) if i < count else ()):
                entry.write(f"{i}.{position}", values[name])
            i += 1  # noqa: SIM113
            del step, values  # before the next one is made
    return count, True


def _fill_run(entry: CacheEntry, case: Case, run: int, noises: Noises, count: int) -> int:
    """Writes how far a perturbed run lies from the exact one after each step; after how many it is still finite."""
    options = reference_options(training=True, name=perturbed_precision(case))
    names = _names(case)
    noisy = [{**batch, **noise(case, noises.budgets, run, step)} for step, batch in enumerate(_batches(case))]
    with (
        noises.reverse.perturbed(stream(case.seed, f"reverse noise {run}")) as perturbed,
        closing(perturbed.steps(noises.graph, one_rounding(case, run), noisy, options, _updates(case))) as steps,
    ):
        i = 0
        for step in islice(steps, count):
            moved = values_of(step)
            apart = largest_differences(moved, {name: entry.read(f"{i}.{j}") for j, name in enumerate(names)})
            if not all(map(math.isfinite, apart.values())):
                return i
            entry.write(_deviations(run, i), np.array([apart[name] for name in names]))
            i += 1  # noqa: SIM113
            del step, moved
    return count


def _envelope(case: Case, exact: Mapping[str, Array], runs: Sequence[Mapping[str, float]], step: int) -> Envelope:
    """Of one step. Weights, running statistics, slots and the loss each have their own typical deviation.

    Counters are exact.
    """
    scale = largest(exact)
    u = case.policy.storage_roundoff * (step + 1)  # each step stores each value once
    rule = case.training.optimizer
    counters = {name for name in exact if isinstance(name, SlotName) and name.slot in rule.counters}
    floor = {name: FLUSHED if name in counters else max(u * size, FLUSHED) for name, size in scale.items()}
    statistics = {spec.name for spec in case.lowered.named_state()}
    groups: dict[str, list[str]] = {}
    for name in exact:
        group = "slot" if isinstance(name, SlotName) else "statistic" if name in statistics else "weight"
        group = "counter" if name in counters else group
        groups.setdefault(LOSS if name == LOSS else group, []).append(name)
    found = [
        calibrate(
            [{name: run[name] for name in names} for run in runs],
            {name: floor[name] for name in names},
            {name: scale[name] for name in names},
            safety=LOSS_SAFETY if group == LOSS else SAFETY,
        )
        for group, names in groups.items()
    ]
    return joined(found)


def _ended(
    names: Collection[str], start: Mapping[str, Array], exact: Mapping[str, Array], size: Mapping[str, float]
) -> set[str]:
    """The values whose envelope has grown to a share of their way from the start, so that agreement says nothing.

    So does that of zeros which stay zero and which rounding moves, such as the slots of a weight without a gradient.
    """
    way = {name: largest_difference(exact[name], np.asarray(start.get(name, 0.0))) for name in names}
    still = {name for name, distance in way.items() if not distance and not exact[name].any() and size[name] > FLUSHED}
    return still | {name for name, distance in way.items() if distance > 0 and size[name] > ENDS_AT * distance}
