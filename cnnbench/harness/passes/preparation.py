"""A cell's program is made in a worker, called once, judged by its outputs, and warmed up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnbench.harness.passes.findings import Failure, Phases
from cnnbench.harness.passes.members import GroupMember, GroupWork
from cnnbench.harness.passes.outputs import judge_outputs
from cnnbench.harness.passes.timed_answers import TimedAnswers, timed_answers
from cnnbench.harness.passes.work import Work
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.worker.arrays import read_arrays
from cnnbench.harness.worker.pool import LoadedWorker
from cnnbench.harness.worker.protocol.timing import FeedRequest, PrepareRequest, SynchronizationRequest, WarmUpRequest
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.sampling import SampleSettings, WarmUp
from cnnbench.measurement.synchronization import ATTEMPTS
from cnnbench.spec.weights import digest

FRESH_S, FRESH_INPUTS = 0.03, 8  # of calls on new inputs, and again; and the most inputs of a lot


@dataclass(frozen=True)
class Preparation:
    """A program that a worker holds.

    Args:
        outputs: What its first call gave, by name. failure: what is wrong with it at first sight, or None.
    """

    phases: Phases
    outputs: Mapping[str, Any]
    failure: Failure | None


def prepare(
    work: Work, loaded: LoadedWorker, cell: Cell, sampling: SampleSettings, stock: Path | None = None
) -> Preparation:
    """Has a worker make a cell's program and call it once.

    Args:
        work: The pass.
        loaded: The worker.
        cell: The cell.
        sampling: How it will be sampled.
        stock: The file of images that later inputs are made of.
    """
    material = work.facts.materials.of(cell)
    path = loaded.worker.folder / f"{cell.key}.outputs"
    request = PrepareRequest(
        cell=cell.id,
        graph=material.graph,
        options=material.options,
        arrays=material.arrays,
        batch=material.batch,
        sampling=sampling,
        output=path,
        stock=stock,
    )
    reply = loaded.worker.ask(request, timeout_s=work.facts.suite.timeouts.compile_s)
    work.watch.add("build", reply.build_s + reply.weights_s)
    work.watch.add("compile", (reply.compile_s or 0.0) + reply.first_call_s)
    outputs = read_arrays(path)
    path.unlink(missing_ok=True)
    phases = Phases(import_s=loaded.import_s, **dict(reply))
    return Preparation(phases, outputs, judge_outputs(material.graph, cell, outputs))


def start(group: GroupWork, cell: Cell, spec: WorkerSpec) -> GroupMember | Failure:
    """Prepares and warms up a program for a launch, or says what is wrong with it.

    Args:
        group: The launch.
        cell: Whose program it is.
        spec: The worker that shall hold it.
    """
    work, launch = group.work, group.group.launch
    work.begin(cell, f"launch {launch + 1}: prepare")
    loaded = group.pool.get(spec)
    evidence = timed_answers(work.facts, cell, loaded)
    stock = work.facts.materials.stock(cell, evidence.known)
    made = prepare(work, loaded, cell, group.group.settings.sampling(), stock)
    failure = made.failure or _first_judged(work, cell, evidence, made)
    if failure is not None:
        return failure
    rows = evidence.rows()
    if rows:
        group.ask(spec, FeedRequest(cell=cell.id, rows=rows))
    with work.watch.timing("warm_up"):
        warm = group.ask(spec, WarmUpRequest(cell=cell.id)).warm_up
    found, arrays = group.collect(spec, cell)
    failure = evidence.of(rows, found, arrays, "warming up")
    if failure is None and launch == 0:
        failure = _unsynchronized(group, spec, cell, evidence, warm)
    if failure is not None:
        return failure
    phases = made.phases.model_copy(update={"warmup_s": warm.seconds, "warmup_calls": warm.calls})
    notes = [] if warm.steady else [f"launch {launch + 1}: no steady state in {warm.calls} calls"]
    origin = loaded.origin(cell)
    return GroupMember(cell, spec, loaded.worker, origin, phases, warm, digest(made.outputs), evidence, notes=notes)


def _first_judged(work: Work, cell: Cell, evidence: TimedAnswers, made: Preparation) -> Failure | None:
    """What the first call gave, compared with the oracle."""
    from cnnbench.numerics.answers import images_of

    if evidence.answers is None:
        return None
    material = work.facts.materials.of(cell)
    return evidence.call(made.outputs, images_of(material.graph, read_arrays(material.batch)))


def _unsynchronized(
    group: GroupWork, spec: WorkerSpec, cell: Cell, evidence: TimedAnswers, warm: WarmUp
) -> Failure | None:
    """Whether waiting really waits, and calls on inputs that were seen before cost the same."""
    count = int(FRESH_S / max(warm.call_s, 1e-9))  # long calls are compared in the rounds, where they cost nothing
    lots = tuple(evidence.rows(min(count, FRESH_INPUTS)) for _ in range(ATTEMPTS)) if count else ()
    request = SynchronizationRequest(cell=cell.id, call_s=warm.call_s, lots=tuple(filter(None, lots)))
    with group.work.watch.timing("warm_up"):
        reply = group.ask(spec, request)
    group.collect(spec, cell)
    if not reply.check.passed:
        return Failure(status="error", reason=f"synchronize() does not wait for the work: {reply.check.message}")
    if not reply.fresh.passed:
        return Failure(
            status="error", reason=f"the timed program does not do the work of each call: {reply.fresh.message}"
        )
    return None
