"""The memory pass: each cell alone in a fresh worker, above what that worker holds without the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from cnnbench.harness.passes.checks import judge_outputs
from cnnbench.harness.passes.findings import Memory, MemoryPart
from cnnbench.harness.passes.preparation import prepare
from cnnbench.harness.run.session import Session
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.worker.pool import LoadedWorker, Pool
from cnnbench.harness.worker.protocol.memory import NullMemoryRequest, PeakMemoryRequest
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.sampling import SampleSettings
from cnnbench.measurement.stopwatch import Stopwatch
from cnnbench.spec.weights import digest

CALLS = 2


def memory_pass(session: Session, cells: Sequence[Cell], settle: Callable[[Sequence[Cell]], None]) -> None:
    """Measures the peak of every cell that asks for it and has none yet; ``settle`` writes each one's record."""
    asking = [cell for cell in cells if "memory" in cell.measure]
    with _WorkerPrefetcher(session) as prefetcher:
        for i, cell in enumerate(asking):
            if _is_missing(session, cell):
                following = next((other for other in asking[i + 1 :] if _is_missing(session, other)), None)
                session.doing(cell, "memory")
                with (
                    prefetcher.pool(cell, following) as pool,
                    session.guarded(cell, lambda p=pool, c=cell: p.peek(_spec(session, c))),  # type: ignore[misc]
                ):
                    _measure(session, cell, pool)
            settle([cell])
            session.finished()


def _is_missing(session: Session, cell: Cell) -> bool:
    return session.open(cell) and session.store.read_part(cell.id, "memory", MemoryPart) is None


class _WorkerPrefetcher:
    """Starts the next cell's worker while the present one is measured: most of this pass is importing frameworks.

    Only where both cells' phases were timed in a launch: here an import beside them would disturb them.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="worker-prefetch")
        self._next: tuple[Cell, Pool, Future[LoadedWorker]] | None = None

    @contextmanager
    def pool(self, cell: Cell, following: Cell | None) -> Iterator[Pool]:
        """A pool whose worker for the cell may be up already; the worker of the following cell is begun to start."""
        with self._mine(cell) as pool:
            if following is not None and "latency" in cell.measure and "latency" in following.measure:
                begun = self._pool(Stopwatch())
                future = self._threads.submit(begun.get, _spec(self._session, following))
                self._next = (following, begun, future)
            yield pool

    def _mine(self, cell: Cell) -> Pool:
        if self._next is None:
            return self._pool(self._session.watch)
        expected, pool, future = self._next
        with self._session.watch.timing("import"), suppress(Exception):  # ``get`` raises it once more
            future.result()
        self._next = None
        if expected is cell:
            return pool
        pool.close()
        return self._pool(self._session.watch)

    def _pool(self, watch: Stopwatch) -> Pool:
        return Pool(self._session.plan.suite.timeouts.start_s, watch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown()
        if self._next is not None:
            self._next[1].__exit__(kind, error, trace)


def _spec(session: Session, cell: Cell) -> WorkerSpec:
    return session.spec(cell, exact_memory=True)


def _measure(session: Session, cell: Cell, pool: Pool) -> None:
    loaded = pool.get(_spec(session, cell))
    limit_s = session.plan.suite.timeouts.compile_s
    with session.watch.timing("memory"):
        null = loaded.worker.ask(NullMemoryRequest(precision=cell.precision, mode=cell.mode), timeout_s=limit_s)
    material = session.materials.of(cell)
    made = prepare(loaded, cell, material, SampleSettings(), timeout_s=limit_s, watch=session.watch)
    failure = judge_outputs(material.graph, cell, made.outputs)
    if failure is not None:
        session.fail(cell, failure)
        return
    outputs = digest(made.outputs)
    if null.null_bytes is None:
        note = f"memory was not measured: {null.unavailable}"
        part = MemoryPart(origin=loaded.origin(cell), phases=made.phases, memory=None, note=note, outputs=outputs)
    else:
        with session.watch.timing("memory"):
            peak = loaded.worker.ask(PeakMemoryRequest(cell=cell.id, calls=CALLS), timeout_s=limit_s)
        memory = Memory(
            peak_bytes=max(0, peak.peak_bytes - null.null_bytes),
            total_peak_bytes=peak.peak_bytes,
            null_bytes=null.null_bytes,
            device_peak_bytes=peak.device_peak_bytes,
        )
        part = MemoryPart(origin=loaded.origin(cell), phases=made.phases, memory=memory, outputs=outputs)
    session.store.write_part(cell.id, "memory", part)
