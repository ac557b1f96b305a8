"""One compiled program that stays: loaded, prepared as for timing, run on inputs that change, and read back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.compiled import ForwardProgram, GradientProgram
from cnnbench.execution.host import HostGradients, HostResult, grouped, joined
from cnnbench.execution.operands import overwrite
from cnnbench.spec.weights import split_state

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend, ProgramOptions
    from cnnbench.execution.host import HostArrays
    from cnnbench.spec.graph import Graph
    from cnnbench.spec.losses import Loss


@dataclass(frozen=True)
class Calls:
    """What calls of one program on the same operands gave.

    Args:
        result: Of the last call.
        digests: Of each call's outputs, in order: equal ones are the same bits.
        deviation: By output, the largest distance of any call from the first; infinite where the shapes differ.
    """

    result: HostResult
    digests: tuple[str, ...]
    deviation: Mapping[str, float]

    @property
    def repeats(self) -> bool:
        """Whether all calls gave the same bits."""
        return len(set(self.digests)) == 1


class Session(Protocol):
    """A forward or gradient program that is compiled once. Operands are kept under names of the caller's.

    A gradient program's outputs are ``weights/<name>``, ``inputs/<name>`` and, where there is a loss, ``loss``.
    """

    def load(self, arrays: HostArrays) -> None:
        """Weights and running statistics by full name, the first time or in place of others."""

    def upload(self, name: str, batch: HostArrays) -> None:
        """Inputs as operands. Under a name that was used before they come from the same host memory, overwritten."""

    def run(self, name: str, calls: int = 1) -> Calls:
        """So many calls on the same operands, each waited for and read."""

    def overwrite(self, name: str, source: str) -> bool:
        """Puts the values of other operands into the memory of these; False where the framework's are immutable."""

    def held(self) -> HostArrays | None:
        """The arrays that the program computes with, canonical; None where the backend does not tell."""

    def close(self) -> None:
        """Frees the program."""


@runtime_checkable
class OpensSessions(Protocol):
    """A subject whose programs can be kept."""

    def open(self, graph: Graph, options: ProgramOptions) -> Session:
        """Compiles a forward program to be kept."""


@runtime_checkable
class OpensGradientSessions(Protocol):
    """A subject whose gradient programs can be kept."""

    def open_gradient(self, graph: Graph, options: ProgramOptions, loss: Loss | None) -> Session:
        """Compiles a gradient program to be kept.

        Args:
            graph: What is compiled.
            options: How.
            loss: Of the main output; None: gradients of the outputs are given.
        """


class ProgramSession:
    """A session of a backend in this process.

    Args:
        backend: Loaded.
        graph: What its program computes.
        program: Compiled for it.

    Attributes:
        shared: Inputs that are of no single image, for who makes batches of images.
    """

    def __init__(self, backend: Backend, graph: Graph, program: ForwardProgram | GradientProgram) -> None:
        self.backend, self.program = backend, program
        self._graph = graph
        self.shared: HostArrays = {}
        self._operands: dict[str, Any] = {}
        self._host: dict[str, dict[str, NDArray[Any]]] = {}

    def load(self, arrays: HostArrays) -> None:
        """As ``Session.load``."""
        self.program.load(*split_state(self._graph, arrays))
        self.backend.synchronize()

    def upload(self, name: str, batch: HostArrays) -> None:
        """As ``Session.upload``."""
        held = self._host.get(name)
        if held is None or not _overwritten(held, batch):
            held = self._host[name] = {key: np.array(array) for key, array in batch.items()}
        self._operands.pop(name, None)  # before the next are made: their memory and identity may serve again
        operands = self.program.upload(held)
        self.backend.synchronize()
        self.program.prepare(operands)
        self._operands[name] = operands

    def adopt(self, name: str, operands: Any) -> None:
        """Keeps operands that the program's ``upload`` gave."""
        self._operands[name] = operands

    def operands(self, name: str) -> Any:
        """What was uploaded under a name."""
        return self._operands[name]

    def forget(self, name: str) -> None:
        """Frees the operands of a name."""
        self._operands.pop(name, None)
        self._host.pop(name, None)

    def run(self, name: str, calls: int = 1) -> Calls:
        """As ``Session.run``."""
        first = result = self._read(name)
        digests = [digest_of(first.outputs)]
        deviation = dict.fromkeys(first.outputs, 0.0)
        for _ in range(calls - 1):
            result = self._read(name)
            digests.append(digest_of(result.outputs))
            if digests[-1] != digests[0]:
                found = distances(result.outputs, first.outputs)
                deviation = {key: max(value, found[key]) for key, value in deviation.items()}
        return Calls(result, tuple(digests), deviation)

    def _read(self, name: str) -> HostResult:
        result = self.program.run(self._operands[name])
        self.backend.synchronize(result)
        return self.download(result)

    def download(self, result: Any) -> HostResult:
        """What the program's ``run`` returned, on the host."""
        found = self.program.download(result)
        return found if isinstance(found, HostResult) else as_result(found)

    def overwrite(self, name: str, source: str) -> bool:
        """As ``Session.overwrite``."""
        return overwrite(self._operands[name], self._operands[source])

    def held(self) -> HostArrays | None:
        """As ``Session.held``."""
        return self.program.held() if isinstance(self.program, ForwardProgram) else None

    def close(self) -> None:
        """As ``Session.close``."""
        self._operands.clear()
        self._host.clear()


def as_result(found: HostGradients) -> HostResult:
    """Gradients as the outputs of a session: ``weights/<name>``, ``inputs/<name>``, and ``loss`` where it is one."""
    outputs = joined({"weights": found.weights, "inputs": found.inputs})
    if not np.isnan(found.loss):
        outputs["loss"] = np.asarray(found.loss, np.float64)
    return HostResult(outputs, found.state)


def as_gradients(result: HostResult) -> HostGradients:
    """What ``as_result`` was made of."""
    parts, loss = grouped(result.outputs), float(result.outputs.get("loss", np.nan))
    return HostGradients(loss, parts.get("weights", {}), parts.get("inputs", {}), result.state)


def _overwritten(held: Mapping[str, NDArray[Any]], batch: HostArrays) -> bool:
    """Puts a batch into host memory of its own shapes and types, where it is that."""
    fits = held.keys() == batch.keys() and all(
        array.shape == batch[key].shape and array.dtype == batch[key].dtype for key, array in held.items()
    )
    if fits:
        for key, array in held.items():
            array[...] = batch[key]
    return fits


def digest_of(arrays: Mapping[str, NDArray[Any]]) -> str:
    """A digest of names, types, shapes and bits."""
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f"{name} {array.dtype} {array.shape}".encode())
        found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def distances(got: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """Largest |got - other| of each output of ``other``; infinite where they cannot be compared or one is NaN."""
    found = {}
    for name, value in other.items():
        mine = got.get(name)
        if mine is None or mine.shape != value.shape:
            found[name] = np.inf
            continue
        with np.errstate(invalid="ignore"):
            gap = np.asarray(np.abs(mine.astype(np.float64) - value))
        same = (mine == value) | (np.isnan(mine) & np.isnan(value))
        gap[np.asarray(same)] = 0.0
        found[name] = float(np.nan_to_num(gap, nan=np.inf, posinf=np.inf).max(initial=0.0))
    return found
