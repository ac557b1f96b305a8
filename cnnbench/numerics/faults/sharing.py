"""Faults of weights that several nodes use, located at the node that owns them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.compiled import StepProgram
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.host import HostTraining
from cnnbench.numerics.faults.engine.base import Fault
from cnnbench.numerics.faults.engine.configurations import applied_twice
from cnnbench.numerics.faults.engine.programs import (
    ChangedStep,
    Compilers,
    Loaded,
    Moment,
    ProgramChange,
    changed_programs,
)
from cnnbench.spec.graph import Graph
from cnnbench.spec.layers import BatchNorm, Conv
from cnnbench.spec.losses import CrossEntropy, Loss
from cnnbench.spec.optimizers import SGD, Optimizer
from cnnbench.spec.passes import copies_of, with_copies
from cnnbench.training.steps import TrainingSteps

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


def _copies(graph: Graph, gradients: OfUses) -> ProgramChange:
    """The network with a copy of each shared weight at each of its uses.

    Gradients of one weight are combined by a rule, and of its running statistics the last stay.
    """

    def load(given: Loaded, moment: Moment) -> Loaded:
        return Loaded(_copied(graph, given.weights), _copied(graph, given.state))

    def last(state: HostArrays) -> dict[str, Array]:
        return _combined(graph, state, lambda uses: uses[-1])

    return ProgramChange(
        graph=with_copies,
        load=load,
        outputs=lambda found, moment: found._replace(state=last(found.state)),
        gradients=lambda found, moment: found._replace(
            weights=_combined(graph, found.weights, gradients), state=last(found.state)
        ),
    )


def _gradients_by(rule: OfUses) -> Callable[[Backend], Compilers]:
    return changed_programs(lambda graph: _copies(graph, rule), ("compile_gradient",))


def _updated_once_per_use(graph: Graph) -> ProgramChange:
    uses = copies_of(graph)

    def trained(before: HostTraining, after: HostTraining, moment: Moment) -> HostTraining:
        moved = {
            name: before.weights[name] + len(uses[name]) * (array - before.weights[name])
            for name, array in after.weights.items()
        }
        return after._replace(weights=moved)

    return ProgramChange(trained=trained)


def _statistics_of_the_last_use(backend: Backend) -> Compilers:
    forward = changed_programs(lambda graph: _copies(graph, _sum_for_each_use), ("compile_forward",))(backend)
    right = backend.compile_step

    def compile_step(graph: Graph, options: ProgramOptions, loss: Loss, optimizer: Optimizer) -> StepProgram:
        passed = forward["compile_forward"](graph, replace(options, training=True))

        def trained(before: HostTraining, after: HostTraining, moment: Moment) -> HostTraining:
            passed.load(before.weights, before.state)
            inputs = {name: array for name, array in moment.batch.items() if name != "targets"}
            return after._replace(state=passed.download(passed.run(passed.upload(inputs))).state)

        return ChangedStep(right(graph, options, loss, optimizer), ProgramChange(trained=trained))

    return {**forward, "compile_step": compile_step}


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
        programs=changed_programs(_updated_once_per_use, ("compile_step",)),
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
