"""A cell's program in a worker: compiled, loaded and called once, with the seconds of each phase and its outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnbench.harness.passes.findings import Phases
from cnnbench.harness.passes.material import Material
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.worker.arrays import read_arrays
from cnnbench.harness.worker.pool import LoadedWorker
from cnnbench.harness.worker.protocol.timing import PrepareRequest
from cnnbench.measurement.sampling import SampleSettings
from cnnbench.measurement.stopwatch import Stopwatch

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Preparation:
    """What preparing a program took, and what its first call gave by output name."""

    phases: Phases
    outputs: dict[str, NDArray[Any]]


def prepare(
    loaded: LoadedWorker,
    cell: Cell,
    material: Material,
    sampling: SampleSettings,
    *,
    timeout_s: float,
    watch: Stopwatch,
) -> Preparation:
    """Prepares a cell's program in a worker.

    Args:
        loaded: The worker.
        cell: Whose program it is.
        material: Its network and operands.
        sampling: How the program will be sampled.
        timeout_s: After so long the worker is killed as hung.
        watch: Counts the seconds of building and compiling.

    Raises:
        WorkerError: The worker failed or is gone.
    """
    path = loaded.worker.folder / f"{cell.id}.outputs"
    request = PrepareRequest(
        cell=cell.id,
        graph=material.graph,
        options=material.options,
        arrays=material.arrays,
        batch=material.batch,
        sampling=sampling,
        output=path,
    )
    reply = loaded.worker.ask(request, timeout_s=timeout_s)
    watch.add("build", reply.build_s + reply.weights_s)
    watch.add("compile", (reply.compile_s or 0.0) + reply.first_call_s)
    outputs = read_arrays(path)
    path.unlink(missing_ok=True)
    phases = Phases(
        import_s=loaded.import_s,
        build_s=reply.build_s,
        weights_s=reply.weights_s,
        compile_s=reply.compile_s,
        first_call_s=reply.first_call_s,
    )
    return Preparation(phases, outputs)
