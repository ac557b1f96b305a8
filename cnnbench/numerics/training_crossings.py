"""How far crossings of kinks move the results of the training check, a network's gradients, and a training curve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.backends import load_backend
from cnnbench.execution.host import HostArrays
from cnnbench.numerics.cache_entry import CacheEntry
from cnnbench.numerics.calibration import FEW, LOSS, with_loss
from cnnbench.numerics.crossings import Observer, Start, Values, observed, reach
from cnnbench.numerics.noise import Noises, noise, one_rounding, perturbed_precision
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.reference import reference_options
from cnnbench.numerics.subject import InProcessSubject, Updates
from cnnbench.numerics.training_course import Course, values_of
from cnnbench.numerics.training_envelope import perturbed
from cnnbench.spec.streams import stream
from cnnbench.training.loop import losses_of
from cnnbench.training.task import TrainingTask

Array = NDArray[Any]


def course_crossings(oracle: Oracle, course: Course) -> list[dict[str, float]]:
    """How far crossings move each value after each step of the training check; empty where there is none.

    Args:
        oracle: The oracle of the case.
        course: The exact values of the case's training check.
    """
    training = replace(course.training, later=(), held=None)
    case = replace(oracle.case, training=training)
    batches = [case.training_batch(step) for step in range(len(training.rates))]
    updates = Updates(case.loss, training.optimizer, training.rates)

    def exact(observer: Observer) -> Iterator[Values]:
        backend = load_backend("numpy")
        with observed(backend, observer):
            subject, options = InProcessSubject(backend), reference_options(training=True)
            yield from map(values_of, subject.steps(case.lowered, case.stored, batches, options, updates))

    def fill(entry: CacheEntry) -> None:
        noises = Noises.of(case)

        def noisy(run: int) -> Start:
            given = [{**batch, **noise(case, noises.budgets, run, step)} for step, batch in enumerate(batches)]
            options = reference_options(training=True, name=perturbed_precision(case))

            def start(observer: Observer) -> Iterator[Values]:
                generator = stream(case.seed, f"reverse noise {run}")
                with noises.reverse.perturbed(generator) as subject, observed(subject.backend, observer):
                    steps = subject.steps(noises.graph, one_rounding(case, run), given, options, updates)
                    yield from map(values_of, steps)

            return start

        _write(entry, reach(exact, [noisy(run) for run in range(FEW[0])], course.exact))

    key = case.key("crossings", training=training, loss=case.loss, labels=case.labels.tolist())
    return _read(oracle.cache.entry(key, fill), sorted(course.exact[0]))


def gradient_crossings(oracle: Oracle, right: Mapping[str, Array]) -> list[dict[str, float]]:
    """How far crossings move the loss and each weight's gradient, as the values of one step; empty for no crossing.

    Args:
        oracle: The oracle of the case.
        right: The exact loss and gradients, by name.
    """
    case = oracle.case
    batch = case.training_batch()

    def gradients(subject: InProcessSubject, graph: Any, arrays: HostArrays, given: Any, how: str) -> Values:
        return with_loss(subject.gradient(graph, arrays, given, reference_options(training=True, name=how), case.loss))

    def exact(observer: Observer) -> Iterator[Values]:
        backend = load_backend("numpy")
        with observed(backend, observer):
            yield gradients(InProcessSubject(backend), case.lowered, case.stored, batch, "float64")

    def fill(entry: CacheEntry) -> None:
        noises = Noises.of(case)

        def noisy(run: int) -> Start:
            given = {**batch, **noise(case, noises.budgets, run)}

            def start(observer: Observer) -> Iterator[Values]:
                generator, how = stream(case.seed, f"reverse noise {run}"), perturbed_precision(case)
                with noises.reverse.perturbed(generator) as subject, observed(subject.backend, observer):
                    yield gradients(subject, noises.graph, one_rounding(case, run), given, how)

            return start

        _write(entry, reach(exact, [noisy(run) for run in range(FEW[0])], [right]))

    key = case.key("gradient crossings", loss=case.loss, labels=case.labels.tolist())
    return _read(oracle.cache.entry(key, fill), sorted(right))


def _write(entry: CacheEntry, moves: Sequence[Mapping[str, float]]) -> None:
    entry.write("steps", np.asarray(len(moves)))
    for step, sizes in enumerate(moves):
        entry.write(f"moves.{step}", np.array([sizes[name] for name in sorted(sizes)]))


def _read(entry: CacheEntry, names: Sequence[str]) -> list[dict[str, float]]:
    steps = range(int(entry.read("steps")))
    return [dict(zip(names, map(float, entry.read(f"moves.{step}")), strict=True)) for step in steps]


def curve_crossings(task: TrainingTask, exact: Sequence[float]) -> tuple[float, ...]:
    """How far crossings move the loss at each of the first steps of a training on the reference.

    Args:
        task: The training, in the policy's precision.
        exact: Its losses in float64, of as many steps as are examined.
    """

    def start(arrays: HostArrays, name: str) -> Start:
        options = reference_options(name=name)

        def begin(observer: Observer) -> Iterator[Values]:
            backend = load_backend("numpy")
            with observed(backend, observer):
                for loss in losses_of(TrainingTask(backend, task.graph, arrays, task.settings, options)):
                    yield {LOSS: np.asarray(loss)}

        return begin

    numbers = range(1, 1 + FEW[0])
    noisy = [start(perturbed(task.arrays, task.settings.seed, n), task.options.precision.name) for n in numbers]
    right = [{LOSS: np.asarray(loss)} for loss in exact]
    return tuple(moved[LOSS] for moved in reach(start(task.arrays, "float64"), noisy, right))
