"""What a check examines when the backend runs in a worker: the same calls as in process, sent over the pipe."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cnnbench.execution.host import HostGradients, HostResult, HostTraining, grouped
from cnnbench.harness.passes.worker_session import WorkerSession
from cnnbench.harness.worker.arrays import read_arrays, write_arrays
from cnnbench.harness.worker.protocol.checks import ForwardRequest, GradientRequest, StepsRequest
from cnnbench.numerics.subject import TrainedStep, composites_among

if TYPE_CHECKING:
    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.execution.gaps import Gap
    from cnnbench.execution.host import HostArrays
    from cnnbench.harness.worker.interface import Worker
    from cnnbench.numerics.subject import Updates
    from cnnbench.spec.graph import Graph
    from cnnbench.spec.losses import Loss


class WorkerSubject:
    """A worker's backend as a subject of checks.

    Args:
        worker: A worker with its backend loaded.
        timeout_s: Of each call.
        kinds: That the backend has ops for: a composite among them is examined as one node.
        gaps: What the backend declares of NaN, infinities and denormals.

    Arrays travel as files in the worker's folder, removed once they are read.
    """

    def __init__(self, worker: Worker, timeout_s: float, kinds: Iterable[str] = (), gaps: Iterable[Gap] = ()) -> None:
        self.composites = composites_among(kinds)
        self.gaps = tuple(gaps)
        self._worker = worker
        self._timeout_s = timeout_s
        self._count = 0

    def forward(self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions) -> HostResult:
        """One forward pass of a program compiled for it."""
        with self._files(arrays=arrays, batch=batch) as (paths, output):
            request = ForwardRequest(graph=graph, options=options, output=output, **paths)
            self._worker.ask(request, timeout_s=self._timeout_s)
            groups = grouped(read_arrays(output))
        return HostResult(groups.get("outputs", {}), groups.get("state", {}))

    def open(self, graph: Graph, options: ProgramOptions) -> WorkerSession:
        """A program that the worker keeps."""
        return WorkerSession.opened(self._worker, self._timeout_s, graph, options)

    def open_gradient(self, graph: Graph, options: ProgramOptions, loss: Loss | None) -> WorkerSession:
        """A gradient program that the worker keeps.

        Args:
            graph: What is compiled.
            options: How.
            loss: Of the main output; None: gradients of the outputs are given.
        """
        return WorkerSession.opened_gradient(self._worker, self._timeout_s, graph, options, loss)

    def gradient(
        self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions, loss: Loss | None = None
    ) -> HostGradients:
        """One gradient pass."""
        with self._files(arrays=arrays, batch=batch) as (paths, output):
            request = GradientRequest(graph=graph, options=options, loss=loss, output=output, **paths)
            reply = self._worker.ask(request, timeout_s=self._timeout_s)
            groups = grouped(read_arrays(output))
        return HostGradients(reply.loss, groups.get("weights", {}), groups.get("inputs", {}), groups.get("state", {}))

    def steps(
        self,
        graph: Graph,
        arrays: HostArrays,
        batches: Sequence[HostArrays],
        options: ProgramOptions,
        updates: Updates,
    ) -> Generator[TrainedStep, None, None]:
        """Optimiser steps; all are run at once, and the states that are kept are read one by one."""
        named = {f"batch{i}": batch for i, batch in enumerate(batches)}
        with self._files(arrays=arrays, **named) as (paths, output):
            kept = tuple(i for i in range(len(updates.rates)) if updates.keeps(i))
            outputs = tuple(output.with_stem(f"{output.stem}{i}") for i in kept)
            request = StepsRequest(
                graph=graph,
                options=options,
                arrays=paths["arrays"],
                batches=tuple(paths[name] for name in named),
                loss=updates.loss,
                optimizer=updates.optimizer,
                learning_rates=tuple(map(float, updates.rates)),
                reads=tuple(updates.reads),
                loads=tuple(updates.loads.items()),
                kept=kept,
                outputs=outputs,
            )
            files = dict(zip(kept, outputs, strict=True))
            try:
                reply = self._worker.ask(request, timeout_s=self._timeout_s)
                for i, loss in enumerate(reply.losses):
                    yield TrainedStep(loss, _training(files[i]) if i in files else None)
            finally:
                for file in outputs:
                    file.unlink(missing_ok=True)

    @contextmanager
    def _files(self, **groups: HostArrays) -> Iterator[tuple[dict[str, Path], Path]]:
        """Files with the arrays, by the given names, and the path of one for the worker's; removed at the end."""
        self._count += 1
        folder = self._worker.folder
        paths = {name: folder / f"{self._count}-{name}.safetensors" for name in groups}
        output = folder / f"{self._count}-output.safetensors"
        try:
            for name, arrays in groups.items():
                write_arrays(paths[name], arrays)
            yield paths, output
        finally:
            for path in (*paths.values(), output):
                path.unlink(missing_ok=True)


def _training(file: Path) -> HostTraining:
    """The state in a worker's file, which is removed."""
    found = HostTraining.read(read_arrays(file))
    file.unlink()
    return found
