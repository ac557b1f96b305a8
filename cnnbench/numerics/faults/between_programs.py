"""Faults of what several programs of one process share that is each program's own."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from numpy.typing import NDArray

from cnnbench.execution.contract import Backend
from cnnbench.execution.host import HostArrays, HostResult
from cnnbench.numerics.faults.engine.base import Fault
from cnnbench.numerics.faults.engine.programs import Compilers, Loaded, Moment, ProgramChange, changed_programs
from cnnbench.numerics.faults.programs import in_two_blocks

Array = NDArray[Any]


def _one_place(part: str) -> Callable[[], ProgramChange]:
    """Arrays of one name and shape are those that any program loaded last."""

    def of_process() -> ProgramChange:
        held: dict[Hashable, Array] = {}

        def latest(arrays: HostArrays, moment: Moment) -> HostArrays:
            own = {name: (name, array.shape) for name, array in arrays.items()}
            if not moment.batch:  # at load
                held.update({own[name]: array for name, array in arrays.items()})
            return {name: held[own[name]] for name in arrays}

        def load(given: Loaded, moment: Moment) -> Loaded:
            found = latest(getattr(given, part), moment)
            return given._replace(weights=found) if part == "weights" else given._replace(state=found)

        return ProgramChange(load=load, moves=True)

    return of_process


def _one_memory_of_results() -> ProgramChange:
    """The first result for a batch is that of all programs whose outputs have the same shapes."""
    kept: dict[Hashable, HostResult] = {}

    def outputs(found: HostResult, moment: Moment) -> HostResult:
        if moment.loads > 1:  # a program that is loaded again forgets
            return found
        batch = tuple((name, array.shape, array.tobytes()) for name, array in moment.batch.items())
        shapes = tuple((name, array.shape) for name, array in found.outputs.items())
        return kept.setdefault((batch, shapes), found)

    return ProgramChange(outputs=outputs)


WRONG: dict[str, tuple[str, Callable[[], ProgramChange]]] = {
    "weights": (
        "weights are held once for all programs of a process: the latest load is everyone's",
        _one_place("weights"),
    ),
    "statistics": ("running statistics are held once for all programs of a process", _one_place("state")),
    "results": (
        "a result is that which another program of the process gave for the same images",
        _one_memory_of_results,
    ),
}
NODES = {"weights": "conv1", "statistics": "norm1", "results": "conv1"}


def _programs(of_process: Callable[[], ProgramChange]) -> Callable[[Backend], Compilers]:
    return lambda backend: changed_programs(of_process(), ("compile_forward",))(backend)


FAULTS = tuple(
    Fault(
        f"between_programs.{name}",
        "process",
        what,
        in_two_blocks,
        "timed",
        NODES[name],
        programs=_programs(of_process),
    )
    for name, (what, of_process) in WRONG.items()
)
