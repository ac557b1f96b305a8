"""What a worker holds in memory: without a network, and at the peak of warm calls."""

from __future__ import annotations

from dataclasses import replace

from cnnbench.harness.worker.handlers.state import WorkerState
from cnnbench.harness.worker.protocol.memory import (
    NullMemoryReply,
    NullMemoryRequest,
    PeakMemoryReply,
    PeakMemoryRequest,
)


def null_memory(request: NullMemoryRequest, state: WorkerState) -> NullMemoryReply:
    """What is resident once a network of one ReLU has run."""
    from cnnbench.measurement import memory

    reason = memory.unavailable()
    if reason is not None:
        return NullMemoryReply(null_bytes=None, unavailable=reason)
    _run_null(request, state)
    memory.release_free_memory()
    memory.reset_peak()
    resident = memory.resident_bytes()
    return NullMemoryReply(null_bytes=None if resident is None else resident + memory.children_bytes())


def _run_null(request: NullMemoryRequest, state: WorkerState) -> None:
    import numpy as np

    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.execution.precision import precision
    from cnnbench.spec.graph import Builder
    from cnnbench.spec.layers import ReLU

    builder = Builder("null")
    graph = builder.build(builder.add("relu", ReLU(), builder.input("image", (1, 1, 1))))
    backend = state.loaded
    options = ProgramOptions(mode=request.mode, precision=precision(request.precision))
    program = backend.compile_forward(graph, options)
    program.load({}, {})
    operands = program.upload({"image": np.ones((1, 1, 1, 1), np.float32)})
    backend.synchronize(program.run(operands))


def peak_memory(request: PeakMemoryRequest, state: WorkerState) -> PeakMemoryReply:
    """The peak while a prepared program is called warm; what compiling it left behind is handed back before."""
    from cnnbench.measurement import memory
    from cnnbench.measurement.sampling import unseen

    timed = replace(state.program(request.cell).timed, seen=unseen)  # results would be read and kept
    timed.sample()
    memory.release_free_memory()
    state.loaded.reset_device_peak()
    memory.reset_peak()
    with memory.ChildrenWatch() as children:
        for _ in range(request.calls):
            timed.sample()
    peak_bytes = memory.peak_bytes()
    if peak_bytes is None:
        raise RuntimeError("the kernel does not tell the peak of resident memory")
    return PeakMemoryReply(
        peak_bytes=peak_bytes + children.most_bytes, device_peak_bytes=state.loaded.device_peak_bytes()
    )
