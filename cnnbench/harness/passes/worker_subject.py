"""What a check examines when the backend runs in a worker: the same calls as in process, sent over the pipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbench.execution.host import HostGradients, HostResult, HostTraining
from cnnbench.harness.worker.arrays import component_to_json, options_to_json, read_arrays, write_arrays

if TYPE_CHECKING:
    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.execution.host import HostArrays
    from cnnbench.harness.worker.client import Worker
    from cnnbench.numerics.subject import Updates
    from cnnbench.spec.graph import Graph
    from cnnbench.spec.losses import Loss


class WorkerSubject:
    """A worker's backend as a subject of checks.

    Args:
        worker: A worker with its backend loaded.
        timeout_s: Of each call.
        kinds: That the backend has ops for: a composite among them is examined as one node.

    Arrays travel as files in the worker's folder, removed once they are read.
    """

    def __init__(self, worker: Worker, timeout_s: float, kinds: Iterable[str] = ()) -> None:
        from cnnbench.numerics.subject import composites_among

        self.composites = composites_among(kinds)
        self._worker = worker
        self._timeout_s = timeout_s
        self._count = 0

    def forward(self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions) -> HostResult:
        """One forward pass of a program compiled for it."""
        _, groups = self._ask("forward", graph, options, {"arrays": arrays, "batch": batch})
        return HostResult(groups.get("outputs", {}), groups.get("state", {}))

    def gradient(
        self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions, loss: Loss | None = None
    ) -> HostGradients:
        """One gradient pass."""
        files = {"arrays": arrays, "batch": batch}
        reply, groups = self._ask("gradient", graph, options, files, loss=component_to_json(loss))
        return HostGradients(
            float(reply["loss"]), groups.get("weights", {}), groups.get("inputs", {}), groups.get("state", {})
        )

    def steps(
        self,
        graph: Graph,
        arrays: HostArrays,
        batches: Sequence[HostArrays],
        options: ProgramOptions,
        updates: Updates,
    ) -> tuple[list[float], list[HostTraining]]:
        """One optimiser step a batch."""
        training = {
            "loss": component_to_json(updates.loss),
            "optimizer": component_to_json(updates.optimizer),
            "learning_rates": [float(rate) for rate in updates.rates],
        }
        reply, groups = self._ask("steps", graph, options, {"arrays": arrays}, batches=batches, training=training)
        states = [
            HostTraining(*(groups.get(f"{i}/{part}", {}) for part in ("weights", "state", "slots")))
            for i in range(reply["states"])
        ]
        return [float(value) for value in reply["losses"]], states

    def _ask(
        self,
        method: str,
        graph: Graph,
        options: ProgramOptions,
        files: Mapping[str, HostArrays],
        *,
        batches: Sequence[HostArrays] = (),
        **parameters: Any,
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """The reply, and the arrays that came with it by group."""
        self._count += 1
        folder = self._worker.folder
        written: list[Path] = []

        def put(name: str, arrays: HostArrays) -> str:
            path = folder / f"{self._count}-{name}.safetensors"
            written.append(path)
            write_arrays(path, arrays)
            return str(path)

        output = folder / f"{self._count}-output.safetensors"
        written.append(output)
        try:
            parameters.update({name: put(name, arrays) for name, arrays in files.items()})
            if batches:
                parameters["batches"] = [put(f"batch{i}", batch) for i, batch in enumerate(batches)]
            reply = self._worker.request(
                method,
                timeout_s=self._timeout_s,
                graph=graph.to_json(),
                options=options_to_json(options),
                output=str(output),
                **parameters,
            )
            return reply, _grouped(read_arrays(output))
        finally:
            for path in written:
                path.unlink(missing_ok=True)


def _grouped(arrays: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Arrays by ``<group>/<name>``, where names of weights' slots and group numbers hold slashes of their own."""
    groups: dict[str, dict[str, Any]] = {}
    for full, array in arrays.items():
        head, _, name = full.partition("/")
        if head.isdigit():
            part, _, name = name.partition("/")
            head = f"{head}/{part}"
        groups.setdefault(head, {})[name] = array
    return groups
