"""Worker processes of backends, so that a crash of a framework does not end the fuzzing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cnnbench.execution.contract import BackendPlugin
from cnnbench.fuzzing.examination import Series
from cnnbench.harness.passes.worker_subject import WorkerSubject
from cnnbench.harness.worker.interface import START_TIMEOUT_S
from cnnbench.harness.worker.pool import LoadedWorker, Pool
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.stopwatch import Stopwatch

CALL_S = 120.0  # until a call of a few small layers counts as hung, its compilation included
SUBJECTS = 60  # networks until a worker is started anew: what was compiled stays in its memory
SLOW = ("compile", "xla")  # modes in which each program costs seconds


@dataclass
class _Worker:
    """A backend's worker, started when it is first needed and again after it ended."""

    pool: Pool
    spec: WorkerSpec
    used: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)

    def subject(self) -> WorkerSubject:
        self.used += 1
        if self.used % SUBJECTS == 0:
            self.pool.discard(self.spec)
        loaded: LoadedWorker = self.pool.get(self.spec)
        self.versions = loaded.versions
        return WorkerSubject(loaded.worker, CALL_S, loaded.kinds, loaded.special_gaps)

    def used_versions(self) -> Mapping[str, str]:
        return self.versions


@contextlib.contextmanager
def worker_series(chosen: Sequence[tuple[BackendPlugin, str]], threads: int | None) -> Iterator[list[Series]]:
    """A series for each backend and mode; the modes of a backend share its worker.

    Args:
        chosen: Backends with their modes.
        threads: Computing threads of each.
    """
    pool = Pool(START_TIMEOUT_S, Stopwatch())
    workers: dict[str, _Worker] = {}
    series = []
    for plugin, mode in chosen:
        worker = workers.setdefault(plugin.name, _Worker(pool, WorkerSpec(plugin.name, threads=threads)))
        series.append(
            Series(
                plugin.name,
                mode,
                worker.subject,
                plugin.precisions[mode],
                plugin.layouts,
                worker.used_versions,
                slow=mode in SLOW,
            )
        )
    try:
        yield series
    finally:
        pool.close()
