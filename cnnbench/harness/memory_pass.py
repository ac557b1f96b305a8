"""The memory pass: each cell alone in a fresh worker, above what that worker holds without the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cnnbench.harness.checking import judge_outputs
from cnnbench.harness.parts import MemoryPart
from cnnbench.harness.pool import Pool, prepared
from cnnbench.harness.processes import WorkerSpec
from cnnbench.harness.record import Cell, Memory, Phases
from cnnbench.harness.session import Session
from cnnbench.spec.weights import digest

CALLS = 2


def memory_pass(session: Session, cells: Sequence[Cell], settle: Callable[[Sequence[Cell]], None]) -> None:
    """Measures the peak of every cell that asks for it and has none yet; ``settle`` writes each one's record."""
    for cell in cells:
        if "memory" not in cell.measure:
            continue
        if session.open(cell) and session.store.read_part(cell.id, "memory", MemoryPart) is None:
            session.doing(cell, "memory")
            with Pool(session) as pool, session.guarded(cell, lambda p=pool, c=cell: p.peek(_spec(session, c))):  # type: ignore[misc]
                _measure(session, cell, pool)
        settle([cell])
        session.finished()


def _spec(session: Session, cell: Cell) -> WorkerSpec:
    return session.spec(cell, exact_memory=True)


def _measure(session: Session, cell: Cell, pool: Pool) -> None:
    loaded = pool.get(_spec(session, cell))
    limit_s = session.plan.suite.timeouts.compile_s
    with session.watch.timing("memory"):
        null = loaded.worker.request("null_memory", timeout_s=limit_s, precision=cell.precision, mode=cell.mode)
    made = prepared(session, loaded, cell, {}, output=True)
    phases = Phases(**made["phases"])
    failure = judge_outputs(session.materials.of(cell).graph, cell, made["outputs"])
    if failure is not None:
        session.fail(cell, failure)
        return
    outputs = digest(made["outputs"])
    if "unavailable" in null:
        note = f"memory was not measured: {null['unavailable']}"
        part = MemoryPart(origin=loaded.origin(cell), phases=phases, memory=None, note=note, outputs=outputs)
    else:
        with session.watch.timing("memory"):
            peak = loaded.worker.request("peak_memory", timeout_s=limit_s, cell=cell.id, calls=CALLS)
        memory = Memory(
            peak_bytes=max(0, peak["peak_bytes"] - null["null_bytes"]),
            total_peak_bytes=peak["peak_bytes"],
            null_bytes=null["null_bytes"],
            device_peak_bytes=peak["device_peak_bytes"],
        )
        part = MemoryPart(origin=loaded.origin(cell), phases=phases, memory=memory, outputs=outputs)
    session.store.write_part(cell.id, "memory", part)
