"""The workers of a pass: started when first needed, shared by cells that agree, started anew after a death."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from cnnbench.errors import WorkerError
from cnnbench.harness.passes.findings import Origin
from cnnbench.harness.run.session import Session
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.worker.client import Worker
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.stopwatch import Stopwatch


@dataclass(frozen=True)
class Loaded:
    """A worker with its backend loaded."""

    worker: Worker
    import_s: float
    versions: dict[str, str]
    described: dict[str, str]
    kinds: tuple[str, ...] = ()

    def origin(self, cell: Cell) -> Origin:
        """What a part of ``cell`` that it makes says of where it comes from."""
        spec = self.worker.spec
        requested = {"threads": cell.threads, "device": cell.device, "layout": cell.layout}
        settings = {
            "requested": requested,
            "reported": self.described,
            "variables": spec.variables(),
            "processors": list(spec.processors),
            "python": self.worker.hello["python"],
        }
        return Origin(versions=self.versions, settings=settings)


class Pool:
    """At most one live worker for each specification.

    Args:
        session: The run under way.
        watch: What counts the seconds of starting workers; the session's unless given.
    """

    def __init__(self, session: Session, watch: Stopwatch | None = None) -> None:
        self._session = session
        self._watch = watch or session.watch
        self._loaded: dict[WorkerSpec, Loaded] = {}
        self._unloadable: dict[WorkerSpec, WorkerError] = {}

    def get(self, spec: WorkerSpec) -> Loaded:
        """The worker for a specification. Raises WorkerError where it cannot be had."""
        found = self._loaded.get(spec)
        if found is not None and found.worker.alive:
            return found
        if spec in self._unloadable:  # it would not go better for the next cell, and may take as long
            raise self._unloadable[spec]
        timeouts = self._session.plan.suite.timeouts
        with self._watch.timing("import"):
            worker = Worker(spec, start_timeout_s=timeouts.start_s)
            self._loaded[spec] = Loaded(worker, 0.0, {}, {})  # its log is wanted where loading fails
            try:
                reply = worker.request(
                    "load", timeout_s=timeouts.start_s, backend=spec.backend, threads=spec.threads, device=spec.device
                )
            except WorkerError as error:
                self._unloadable[spec] = error
                worker.kill()
                raise
        loaded = Loaded(worker, reply["import_s"], reply["versions"], reply["describe"], tuple(reply["kinds"]))
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


def prepared(session: Session, loaded: Loaded, cell: Cell, sampling: dict[str, Any], output: bool) -> dict[str, Any]:
    """Prepares a cell in a worker: its phases, and its outputs where asked for, counted by the stopwatch."""
    from cnnbench.harness.worker.arrays import options_to_json, read_arrays

    material = session.materials.of(cell)
    path = loaded.worker.folder / f"{cell.id}.outputs"
    reply = loaded.worker.request(
        "prepare",
        timeout_s=session.plan.suite.timeouts.compile_s,
        cell=cell.id,
        graph=material.graph.to_json(),
        options=options_to_json(material.options),
        arrays=str(material.arrays),
        batch=str(material.batch),
        sampling=sampling,
        output=str(path) if output else None,
    )
    phases = reply["phases"]
    session.watch.add("build", phases["build_s"] + phases["weights_s"])
    session.watch.add("compile", (phases["compile_s"] or 0.0) + phases["first_call_s"])
    outputs = read_arrays(path) if output else {}
    path.unlink(missing_ok=True)
    return {"phases": {**phases, "import_s": loaded.import_s}, "outputs": outputs}
