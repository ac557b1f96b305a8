"""Faults of weights that several nodes use, located at the node that owns them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.compiled import ForwardProgram, GradientProgram, StepProgram
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.host import HostGradients, HostResult, HostTraining
from cnnbench.numerics.case import TrainingSteps
from cnnbench.numerics.faults.engine.base import Compilers, Fault
from cnnbench.numerics.faults.engine.configurations import applied_twice
from cnnbench.spec.graph import Graph
from cnnbench.spec.layers import BatchNorm, Conv
from cnnbench.spec.losses import CrossEntropy, Loss
from cnnbench.spec.optimizers import SGD, Optimizer
from cnnbench.spec.passes import copies_of, with_copies

if TYPE_CHECKING:
    from cnnbench.execution.host import HostArrays

Array = NDArray[Any]
OfUses = Callable[[Sequence[Array]], Array]
PLAIN = TrainingSteps(SGD(momentum=0.0, weight_decay=0.0), CrossEntropy(), rates=(0.1, 0.2))


def _copied(graph: Graph, arrays: HostArrays) -> dict[str, Array]:
    return {copy: arrays[name] for name, copies in copies_of(graph).items() for copy in copies if name in arrays}


def _combined(graph: Graph, copies: HostArrays, rule: OfUses) -> dict[str, Array]:
    found = {name: [copies[copy] for copy in uses if copy in copies] for name, uses in copies_of(graph).items()}
    return {name: rule(arrays) if len(arrays) > 1 else arrays[0] for name, arrays in found.items() if arrays}


class _CombinedGradient(GradientProgram):
    """A gradient program of copies, whose gradients of one weight are combined by another rule than their sum."""

    def __init__(self, inner: GradientProgram, graph: Graph, rule: OfUses) -> None:
        self._inner, self._graph, self._rule = inner, graph, rule

    def load(self, weights: HostArrays, state: HostArrays) -> None:
        self._inner.load(_copied(self._graph, weights), _copied(self._graph, state))

    def upload(self, batch: HostArrays) -> Any:
        return self._inner.upload(batch)

    def run(self, operands: Any) -> Any:
        return self._inner.run(operands)

    def download(self, results: Any) -> HostGradients:
        found = self._inner.download(results)
        weights = _combined(self._graph, found.weights, self._rule)
        return found._replace(weights=weights, state=_combined(self._graph, found.state, lambda uses: uses[-1]))


def _gradients_by(rule: OfUses) -> Callable[[Backend], Compilers]:
    def compilers(backend: Backend) -> Compilers:
        right = backend.compile_gradient

        def compile_gradient(graph: Graph, options: ProgramOptions, loss: Loss | None = None) -> GradientProgram:
            return _CombinedGradient(right(with_copies(graph), options, loss), graph, rule)

        return {"compile_gradient": compile_gradient}

    return compilers


class _ChangedStep(StepProgram):
    """A step program after each of whose steps ``change`` may alter what training holds.

    Args:
        inner: The right program.
        change: (training state before, after the step, operands of ``upload``) -> the state that training goes on from.
    """

    def __init__(
        self, inner: StepProgram, change: Callable[[HostTraining, HostTraining, HostArrays], HostTraining]
    ) -> None:
        self._inner, self._change = inner, change

    def load(self, weights: HostArrays, state: HostArrays, slots: HostArrays | None = None) -> None:
        self._inner.load(weights, state, slots)

    def upload(self, batch: HostArrays) -> Any:
        return batch, self._inner.upload(batch)

    def run(self, operands: Any, learning_rate: float) -> Any:
        batch, inner = operands
        before = self._inner.snapshot()
        loss = self.loss(self._inner.run(inner, learning_rate))
        self._inner.load(*self._change(before, self._inner.snapshot(), batch))
        return loss

    def loss(self, result: Any) -> float:
        return result if isinstance(result, float) else self._inner.loss(result)

    def snapshot(self) -> HostTraining:
        return self._inner.snapshot()


def _updated_once_per_use(backend: Backend) -> Compilers:
    right = backend.compile_step

    def compile_step(graph: Graph, options: ProgramOptions, loss: Loss, optimizer: Optimizer) -> StepProgram:
        uses = copies_of(graph)

        def change(before: HostTraining, after: HostTraining, batch: HostArrays) -> HostTraining:
            moved = {
                name: before.weights[name] + len(uses[name]) * (array - before.weights[name])
                for name, array in after.weights.items()
            }
            return after._replace(weights=moved)

        return _ChangedStep(right(graph, options, loss, optimizer), change)

    return {"compile_step": compile_step}


class _LastStatistics(ForwardProgram):
    """A forward program of copies: each use starts from the same statistics, and those after the last one stay."""

    def __init__(self, inner: ForwardProgram, graph: Graph) -> None:
        self._inner, self._graph = inner, graph

    def load(self, weights: HostArrays, state: HostArrays) -> None:
        self._inner.load(_copied(self._graph, weights), _copied(self._graph, state))

    def upload(self, batch: HostArrays) -> Any:
        return self._inner.upload(batch)

    def run(self, operands: Any) -> Any:
        return self._inner.run(operands)

    def download(self, results: Any) -> HostResult:
        found = self._inner.download(results)
        return found._replace(state=_combined(self._graph, found.state, lambda uses: uses[-1]))


def _statistics_of_the_last_use(backend: Backend) -> Compilers:
    forward, step = backend.compile_forward, backend.compile_step

    def compile_forward(graph: Graph, options: ProgramOptions) -> ForwardProgram:
        return _LastStatistics(forward(with_copies(graph), options), graph)

    def compile_step(graph: Graph, options: ProgramOptions, loss: Loss, optimizer: Optimizer) -> StepProgram:
        passed = compile_forward(graph, replace(options, training=True))

        def change(before: HostTraining, after: HostTraining, batch: HostArrays) -> HostTraining:
            passed.load(before.weights, before.state)
            inputs = {name: array for name, array in batch.items() if name != "targets"}
            return after._replace(state=passed.download(passed.run(passed.upload(inputs))).state)

        return _ChangedStep(step(graph, options, loss, optimizer), change)

    return {"compile_forward": compile_forward, "compile_step": compile_step}


def _sum_for_each_use(uses: Sequence[Array]) -> Array:
    return np.asarray(len(uses) * np.sum(uses, axis=0))


_CONV = applied_twice(Conv(out_channels=3, kernel_size=3, padding=1), PLAIN)
_NORM = applied_twice(BatchNorm(momentum=0.3), PLAIN)

FAULTS = (
    Fault(
        "sharing.gradient_of_one_use",
        "sharing",
        "a shared weight's gradient taken from its first use alone, as where the other use reads a copy",
        _CONV,
        check="gradient",
        programs=_gradients_by(lambda uses: uses[0]),
    ),
    Fault(
        "sharing.gradient_counted_twice",
        "sharing",
        "the sum of a shared weight's gradients added once for each use, as where it is listed at each node",
        _CONV,
        check="gradient",
        programs=_gradients_by(_sum_for_each_use),
    ),
    Fault(
        "sharing.updated_once_per_use",
        "sharing",
        "a shared weight moved once for each use, as where the optimiser's list of parameters holds it at each node",
        _CONV,
        check="training",
        programs=_updated_once_per_use,
    ),
    Fault(
        "sharing.statistics_of_last_use",
        "sharing",
        "running statistics of a shared batch norm updated by its last use alone, as where each use reads the old ones",
        _NORM,
        check="training",
        programs=_statistics_of_the_last_use,
    ),
)
