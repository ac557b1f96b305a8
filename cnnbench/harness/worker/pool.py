"""The workers of a pass: started when first needed, shared by cells that agree, started anew after a death."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from cnnbench.errors import CnnbenchError
from cnnbench.execution.contract import ProcessSettings
from cnnbench.execution.gaps import Gap
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.worker.client import WorkerClient
from cnnbench.harness.worker.interface import StartWorker, Worker
from cnnbench.harness.worker.origin import Origin
from cnnbench.harness.worker.protocol.setup import LoadRequest
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.stopwatch import Stopwatch


@dataclass(frozen=True)
class LoadedWorker:
    """A worker with its backend loaded.

    Args:
        import_s: Seconds that importing the backend took.
        versions: Of the packages in its interpreter. described: what the backend says of itself.
        kinds: The layer kinds that the backend has ops for.
        special_gaps: What the backend declares of NaN, infinities and denormals.
    """

    worker: Worker
    import_s: float
    versions: Mapping[str, str] = field(default_factory=dict)
    described: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    special_gaps: tuple[Gap, ...] = ()

    def origin(self, cell: Cell) -> Origin:
        """What a part of ``cell`` that it makes says of where it comes from."""
        spec = self.worker.spec
        settings = {
            "requested": {"threads": cell.threads, "device": cell.device, "layout": cell.layout},
            "reported": dict(self.described),
            "variables": spec.variables(),
            "processors": list(spec.processors),
            "python": self.worker.hello.python,
        }
        return Origin(versions=dict(self.versions), settings=settings)


class Pool:
    """At most one live worker for each specification.

    Args:
        start_timeout_s: Until a worker answers, its framework's import included.
        watch: Counts the seconds of starting workers.
        start: Starts one.
        note: Takes a sentence on a plugin that went wrong in a worker.
    """

    def __init__(
        self,
        start_timeout_s: float,
        watch: Stopwatch,
        start: StartWorker = WorkerClient,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._note = note
        self._start_timeout_s = start_timeout_s
        self._watch = watch
        self._start = start
        self._loaded: dict[WorkerSpec, LoadedWorker] = {}
        self._unloadable: dict[WorkerSpec, CnnbenchError] = {}

    def get(self, spec: WorkerSpec) -> LoadedWorker:
        """The worker for a specification. Raises CnnbenchError where it cannot be had."""
        found = self._loaded.get(spec)
        if found is not None and found.worker.alive:
            return found
        if spec in self._unloadable:  # it would not go better for the next cell, and may take as long
            raise self._unloadable[spec]
        if spec.backend is None:
            raise ValueError("a worker of a pool needs a backend")
        request = LoadRequest(backend=spec.backend, settings=ProcessSettings(threads=spec.threads, device=spec.device))
        with self._watch.timing("import"):
            worker = self._start(spec, start_timeout_s=self._start_timeout_s)
            self._loaded[spec] = LoadedWorker(worker, 0.0)  # its log is wanted where loading fails
            try:
                reply = worker.ask(request, timeout_s=self._start_timeout_s)
            except BaseException as error:
                if isinstance(error, CnnbenchError):
                    self._unloadable[spec] = error
                worker.kill()
                raise
        for plugin, reason in reply.left_out.items():
            self._note(f"plugin {plugin!r} is broken and left out of {spec.backend}'s workers: {reason}")
        gaps = tuple(item.gap() for item in reply.special_gaps)
        loaded = LoadedWorker(worker, reply.import_s, reply.versions, reply.described, reply.kinds, gaps)
        self._loaded[spec] = loaded
        return loaded

    def peek(self, spec: WorkerSpec) -> Worker | None:
        """The newest worker of a specification, alive or not."""
        found = self._loaded.get(spec)
        return found.worker if found is not None else None

    def others(self, busy: Container[WorkerSpec]) -> list[Worker]:
        """The live workers but for those that have something to do."""
        return [item.worker for key, item in self._loaded.items() if key not in busy and item.worker.alive]

    def keep(self, busy: Container[WorkerSpec]) -> None:
        """Ends the workers that have nothing to do."""
        for spec in [spec for spec in self._loaded if spec not in busy]:
            self.discard(spec)

    def discard(self, spec: WorkerSpec) -> None:
        """Ends a worker; the next cell gets a fresh one."""
        found = self._loaded.pop(spec, None)
        if found is not None and found.worker.alive:
            found.worker.close()

    def close(self) -> None:
        """Ends every worker."""
        for spec in list(self._loaded):
            self.discard(spec)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        for item in self._loaded.values():
            if item.worker.alive:
                item.worker.kill()
