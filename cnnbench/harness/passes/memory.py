"""The memory pass: each cell alone in a fresh worker, above what that worker holds without the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from cnnbench.harness.passes.findings import Memory, MemoryPart
from cnnbench.harness.passes.preparation import prepare
from cnnbench.harness.passes.work import Work
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.worker.pool import LoadedWorker, Pool
from cnnbench.harness.worker.protocol.memory import NullMemoryRequest, PeakMemoryRequest
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.sampling import SampleSettings
from cnnbench.measurement.stopwatch import Stopwatch
from cnnbench.spec.weights import digest

CALLS = 2


def memory_pass(work: Work, cells: Sequence[Cell]) -> None:
    """Measures the peak of every cell that asks for it and has none yet.

    Args:
        work: The pass.
        cells: All cells of the run that are not skipped.
    """
    asking = [cell for cell in cells if "memory" in cell.measure]
    missing = [cell for cell in asking if work.is_open(cell) and work.facts.found(cell).memory is None]
    following = dict(zip((cell.id for cell in missing), missing[1:], strict=False))
    with _WorkerPrefetcher(work) as prefetcher:
        for cell in asking:
            if cell in missing:
                work.begin(cell, "memory")
                with (
                    prefetcher.pool(cell, following.get(cell.id)) as pool,
                    work.guarded(cell, lambda p=pool, c=cell: p.peek(_spec(work, c))),  # type: ignore[misc]
                ):
                    _measure(work, cell, pool)
            work.finish(cell)
            work.count()


class _WorkerPrefetcher:
    """Starts the next cell's worker while the present one is measured: most of this pass is importing frameworks.

    Only where both cells' phases were timed in a launch: here an import beside them would disturb them.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="worker-prefetch")
        self._next: tuple[Cell, Pool, Future[LoadedWorker]] | None = None

    @contextmanager
    def pool(self, cell: Cell, following: Cell | None) -> Iterator[Pool]:
        """A pool whose worker for the cell may be up already; the worker of the following cell is begun to start."""
        with self._mine(cell) as pool:
            if following is not None and "latency" in cell.measure and "latency" in following.measure:
                begun = self._work.pool(Stopwatch(self._work.facts.machine.clock))
                future = self._threads.submit(begun.get, _spec(self._work, following))
                self._next = (following, begun, future)
            yield pool

    def _mine(self, cell: Cell) -> Pool:
        if self._next is None:
            return self._work.pool()
        expected, pool, future = self._next
        with self._work.watch.timing("import"), suppress(Exception):  # ``get`` raises it once more
            future.result()
        self._next = None
        if expected is cell:
            return pool
        pool.close()
        return self._work.pool()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown()
        if self._next is not None:
            self._next[1].__exit__(kind, error, trace)


def _spec(work: Work, cell: Cell) -> WorkerSpec:
    return work.facts.spec(cell, exact_memory=True)


def _measure(work: Work, cell: Cell, pool: Pool) -> None:
    loaded = pool.get(_spec(work, cell))
    limit_s = work.facts.suite.timeouts.compile_s
    with work.watch.timing("memory"):
        null = loaded.worker.ask(
            NullMemoryRequest(precision=cell.precision, mode=work.facts.materials.of(cell).options.mode),
            timeout_s=limit_s,
        )
    made = prepare(work, loaded, cell, SampleSettings())
    if made.failure is not None:
        work.fail(cell, made.failure)
        return
    memory: Memory | None = None
    note: str | None = f"memory was not measured: {null.unavailable}"
    if null.null_bytes is not None:
        with work.watch.timing("memory"):
            peak = loaded.worker.ask(PeakMemoryRequest(cell=cell.id, calls=CALLS), timeout_s=limit_s)
        note = None
        memory = Memory(
            peak_bytes=max(0, peak.peak_bytes - null.null_bytes),
            total_peak_bytes=peak.peak_bytes,
            null_bytes=null.null_bytes,
            device_peak_bytes=peak.device_peak_bytes,
        )
    outputs = digest(made.outputs)
    part = MemoryPart(origin=loaded.origin(cell), phases=made.phases, memory=memory, note=note, outputs=outputs)
    work.keep(cell, "memory", part)
