"""Prefetches the oracle's answers to the checks to come, in a worker of its own, while backends are examined."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cnnbench.errors import CnnbenchError, WorkerError
from cnnbench.harness.passes.train_settings import training_steps
from cnnbench.harness.passes.work import Work
from cnnbench.harness.suite.cell import Cell, Key
from cnnbench.harness.worker.errors import RequestFailedError
from cnnbench.harness.worker.interface import Worker
from cnnbench.harness.worker.protocol.checks import PrefetchRequest
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.environment import allowed_processors
from cnnbench.measurement.memory import available_bytes
from cnnbench.spec.composites import Composite

if TYPE_CHECKING:
    from cnnbench.numerics.cache import Cache

AHEAD = 2  # networks
LEAST_MACS = 20_000_000  # below, a second process costs more than it saves
LEAST_FREE_BYTES = 4 * 2**30


@dataclass(frozen=True)
class _Job:
    """What a check of a network will ask the oracle for."""

    key: Key
    request: PrefetchRequest
    threads: int | None


class OraclePrefetcher:
    """Fills the user's cache of oracles ahead of the checks.

    A backend that compiles leaves this machine half idle, and the oracle is most of what a network's first backend
    waits for. Of the network that is examined the last check is taken first, because the checks themselves begin at
    the other end; networks to come follow in their order. What is not ready when it is needed is computed as if there
    were no prefetching, and everything is when it fails.

    Args:
        work: The pass.
        cells: All that will be checked, in that order.
    """

    def __init__(self, work: Work, cells: Sequence[Cell]) -> None:
        self._parent = work
        self._firsts: dict[Key, Cell] = {}
        if len(allowed_processors()) > 1:
            for cell in cells:
                self._firsts.setdefault(oracle_key(cell), cell)
        self._offered: set[Key] = set()
        self._jobs: list[_Job] = []
        self._running: Key | None = None
        self._worker: Worker | None = None
        self._thread: threading.Thread | None = None
        self._ended = False
        self._problem: str | None = None
        self._changed = threading.Condition()

    def look_ahead(self, cell: Cell) -> None:
        """Begins to prefetch for the network of a cell, whose checks come next, and for those after it."""
        networks = list(self._firsts)
        here = oracle_key(cell)
        if here not in self._firsts or self._ended or available_bytes() < LEAST_FREE_BYTES:
            return
        position = networks.index(here)
        for network in networks[position : position + 1 + AHEAD]:
            if network not in self._offered:
                self._offered.add(network)
                self._offer(self._firsts[network], backwards=network == here)

    def expect(self, cell: Cell, check: str) -> None:
        """Waits for what a check needs where it is being computed; takes it back where that has not begun."""
        key = (*oracle_key(cell), check)
        with self._changed:
            self._jobs = [job for job in self._jobs if job.key != key]
            while self._running == key:
                self._changed.wait()

    def wait_until_idle(self) -> None:
        """Waits until nothing is left to compute."""
        with self._changed:
            while (self._jobs or self._running) and not self._ended:
                self._changed.wait()

    def _offer(self, cell: Cell, *, backwards: bool) -> None:
        try:
            jobs = self._jobs_of(cell)
        except CnnbenchError:  # the cell's own checks will say so
            return
        with self._changed:
            self._jobs += reversed(jobs) if backwards else jobs
            if self._jobs and self._thread is None:
                self._thread = threading.Thread(target=self._work, name="oracle-prefetch", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _jobs_of(self, cell: Cell) -> list[_Job]:
        checks, materials = self._parent.facts.suite.checks, self._parent.facts.materials
        material = materials.of(cell)
        composite = any(isinstance(node.layer, Composite) for node in material.graph.nodes)
        if composite or material.graph.macs(checks.batch) < LEAST_MACS:  # backends split composites differently
            return []
        batch = materials.inputs_file(cell, checks.batch)

        def request(check: str) -> PrefetchRequest:
            return PrefetchRequest(
                graph=material.graph,
                options=material.options,
                arrays=material.arrays,
                batch=batch,
                seed=cell.seed,
                training=training_steps(self._parent.facts.suite, cell),
                thorough=checks.thorough,
                check=check,
            )

        return [_Job((*oracle_key(cell), check), request(check), cell.threads) for check in cell.checks]

    def _work(self) -> None:
        limit_s = self._parent.facts.suite.timeouts.call_s
        try:
            while (job := self._next()) is not None:
                if self._worker is None:
                    _cache()  # which the worker shall share, wherever it is
                    worker = self._parent.facts.machine.start_worker(WorkerSpec(None, threads=job.threads))
                    with self._changed:
                        self._worker = worker
                with suppress(RequestFailedError):  # the check will meet the same, and say so
                    self._worker.ask(job.request, timeout_s=limit_s)
        except (WorkerError, OSError) as error:
            self._problem = str(error)
        finally:
            with self._changed:
                left, self._worker = self._worker, None
                self._running, self._ended, self._jobs = None, True, []
                self._changed.notify_all()
            if left is not None:
                left.kill()
                _cache().sweep(left.pid)

    def _next(self) -> _Job | None:
        """Waits for the next job; None at the end."""
        with self._changed:
            self._running = None
            self._changed.notify_all()
            while not self._jobs and not self._ended:
                self._changed.wait()
            if self._ended:
                return None
            job = self._jobs.pop(0)
            self._running = job.key
            return job

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is None:
            return
        problem = self._problem
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            if self._worker is not None:
                self._worker.abort()
        self._thread.join()
        if problem is not None:
            self._parent.note(f"oracles were not computed ahead of the checks: {problem}")


def oracle_key(cell: Cell) -> Key:
    """What cells have in common whose checks ask the same of an oracle: it rounds to the precision's storage type."""
    return (*cell.network_key, cell.precision)


def _cache() -> Cache:
    from cnnbench.numerics.cache import Cache

    return Cache.of_user()
