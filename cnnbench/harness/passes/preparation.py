"""A cell's program is made in a worker, called once, judged by its outputs, and warmed up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cnnbench.harness.passes.findings import Failure, Phases
from cnnbench.harness.passes.members import GroupMember, GroupWork
from cnnbench.harness.passes.outputs import judge_outputs
from cnnbench.harness.passes.work import Work
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.worker.arrays import read_arrays
from cnnbench.harness.worker.pool import LoadedWorker
from cnnbench.harness.worker.protocol.timing import PrepareRequest, SynchronizationRequest, WarmUpRequest
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.sampling import SampleSettings
from cnnbench.spec.weights import digest


@dataclass(frozen=True)
class Preparation:
    """A program that a worker holds.

    Args:
        outputs: What its first call gave, by name. failure: what is wrong with it at first sight, or None.
    """

    phases: Phases
    outputs: Mapping[str, Any]
    failure: Failure | None


def prepare(work: Work, loaded: LoadedWorker, cell: Cell, sampling: SampleSettings) -> Preparation:
    """Has a worker make a cell's program and call it once.

    Args:
        work: The pass.
        loaded: The worker.
        cell: The cell.
        sampling: How it will be sampled.
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
    made = prepare(work, loaded, cell, group.group.settings.sampling())
    if made.failure is not None:
        return made.failure
    with work.watch.timing("warm_up"):
        warm = group.ask(spec, WarmUpRequest(cell=cell.id)).warm_up
        if launch == 0:
            check = group.ask(spec, SynchronizationRequest(cell=cell.id, call_s=warm.call_s)).check
            if not check.passed:
                return Failure(status="error", reason=f"synchronize() does not wait for the work: {check.message}")
    phases = made.phases.model_copy(update={"warmup_s": warm.seconds, "warmup_calls": warm.calls})
    notes = [] if warm.steady else [f"launch {launch}: no steady state in {warm.calls} calls"]
    origin = loaded.origin(cell)
    return GroupMember(cell, spec, loaded.worker, origin, phases, warm, digest(made.outputs), notes=notes)
