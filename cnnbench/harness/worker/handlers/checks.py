"""Single passes and steps of a graph, as checks ask for them, and the oracle's answers ahead of the checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbench.execution.host import joined
from cnnbench.harness.worker.arrays import read_arrays, write_arrays
from cnnbench.harness.worker.handlers.state import WorkerState
from cnnbench.harness.worker.protocol.checks import (
    ForwardRequest,
    GradientReply,
    GradientRequest,
    PrefetchRequest,
    StepsReply,
    StepsRequest,
)
from cnnbench.harness.worker.protocol.setup import Done

if TYPE_CHECKING:
    from cnnbench.numerics.subject import InProcessSubject


def forward(request: ForwardRequest, state: WorkerState) -> Done:
    """One forward pass."""
    result = _subject(state).forward(
        request.graph, read_arrays(request.arrays), read_arrays(request.batch), request.options
    )
    write_arrays(request.output, joined({"outputs": result.outputs, "state": result.state}))
    return Done()


def gradient(request: GradientRequest, state: WorkerState) -> GradientReply:
    """One gradient pass."""
    result = _subject(state).gradient(
        request.graph, read_arrays(request.arrays), read_arrays(request.batch), request.options, request.loss
    )
    groups = {"weights": result.weights, "inputs": result.inputs, "state": result.state}
    write_arrays(request.output, joined(groups))
    return GradientReply(loss=float(result.loss))


def steps(request: StepsRequest, state: WorkerState) -> StepsReply:
    """Optimiser steps."""
    from cnnbench.numerics.subject import Updates

    losses = []
    run = _subject(state).steps(
        request.graph,
        read_arrays(request.arrays),
        [read_arrays(path) for path in request.batches],
        request.options,
        Updates(
            request.loss,
            request.optimizer,
            request.learning_rates,
            reads=request.reads,
            loads=dict(request.loads),
            kept=request.kept,
        ),
    )
    outputs = iter(request.outputs)
    for step in run:
        losses.append(float(step.loss))
        if step.training is not None:
            write_arrays(next(outputs), joined(step.training._asdict()))
    return StepsReply(losses=tuple(losses))


def prefetch(request: PrefetchRequest, state: WorkerState) -> Done:
    """Has the oracle compute what a check will ask it for."""
    from cnnbench.measurement.memory import release_free_memory
    from cnnbench.numerics.case import Case
    from cnnbench.numerics.checks import prefetch as prefetch_oracle

    case = Case(
        graph=request.graph,
        arrays=read_arrays(request.arrays),
        batch=read_arrays(request.batch),
        options=request.options,
        seed=request.seed,
        training=request.training,
        thorough=request.thorough,
    )
    prefetch_oracle(request.check, case)
    release_free_memory()
    return Done()


def _subject(state: WorkerState) -> InProcessSubject:
    from cnnbench.numerics.subject import InProcessSubject

    return InProcessSubject(state.loaded)
