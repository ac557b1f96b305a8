"""The forward program of a user's own model, as its framework runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from cnnbench.errors import SpecError, UnavailableError
from cnnbench.execution.compiled import ForwardProgram
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.host import ArraySpec, HostArrays, HostResult
from cnnbench.execution.operands import ProgramOperands, batch_size
from cnnbench.execution.own_model import make_model
from cnnbench.execution.own_program import OwnProgram
from cnnbench.execution.storage import all_to_storage
from cnnbench.spec.graph import Graph
from cnnbench.spec.weights import digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnbench.spec.interchange.model_readers import ModelRunner, ReadModel

RUNS_WHOLE = "a program of the user's own runs whole, forward and with its own weights"


class OwnForward(ForwardProgram):
    """A forward pass of a user's own model. It keeps the weights that the model has.

    Args:
        graph: Which must be the one that was read of the model.
        options: With ``own``.
        make: Makes the model and what runs it; (its digest, the runner).

    Raises:
        UnavailableError: Another graph, a training pass, or folded batch norms.
    """

    def __init__(self, graph: Graph, options: ProgramOptions, make: Callable[[], tuple[str, ModelRunner]]) -> None:
        own = options.own
        if own is None or graph.digest != own.graph or options.training or options.fold_batch_norm:
            raise UnavailableError(RUNS_WHOLE, where=graph.name)
        self._graph, self._own, self._policy = graph, own, options.precision
        found, self._runner = make()
        if found != own.weights:
            raise SpecError(
                "the model has other weights each time that it is made",
                where=str(own.reference),
                remedy="seed what draws them, or load them from a file",
            )

    def load(self, weights: HostArrays, state: HostArrays) -> None:
        """Compares them with those that were read of the model. Raises UnavailableError where they are others."""
        if digest(all_to_storage({**weights, **state}, self._policy)) != self._own.arrays:
            raise UnavailableError(RUNS_WHOLE, where=str(self._own.reference))

    def upload(self, batch: HostArrays) -> ProgramOperands:
        size = batch_size(self._graph, batch)
        if self._own.batch not in (None, size):
            raise UnavailableError(
                "the model takes one batch only",
                where=str(self._own.reference),
                received=size,
                expected=str(self._own.batch),
            )
        inputs = self._graph.inputs
        specs = [ArraySpec("input", item.name, item.full_shape(size), item.dtype) for item in inputs]
        arrays = [spec.take(batch, self._graph.name) for spec in specs]
        moved = own_layout(arrays, self._own.inputs_last)
        return ProgramOperands(tuple(map(self._runner.place, moved)))

    def run(self, operands: ProgramOperands) -> Any:
        return self._runner.run(operands.inputs)

    def download(self, results: Any) -> HostResult:
        return HostResult(named_outputs(self._graph, self._runner.read(results), self._own.outputs_last), {})


def own_layout(arrays: list[NDArray[Any]], last: tuple[bool, ...]) -> list[NDArray[Any]]:
    """Canonical inputs in a model's own layout.

    Args:
        arrays: One for each input, with channels first.
        last: Whether the model has the channels of each last; () for none.
    """
    import numpy as np

    flags = last or (False,) * len(arrays)
    return [np.moveaxis(a, 1, -1) if moves and a.ndim > 2 else a for a, moves in zip(arrays, flags, strict=True)]


def named_outputs(graph: Graph, arrays: list[NDArray[Any]], last: tuple[bool, ...]) -> dict[str, NDArray[Any]]:
    """A model's outputs by the graph's names, with channels first.

    Args:
        graph: That was read of the model.
        arrays: In the model's order and layout.
        last: Whether the model has the channels of each last; () for none.

    Raises:
        SpecError: The model gives another number of outputs.
    """
    names = [name for name, _ in graph.outputs]
    if len(arrays) != len(names):
        raise SpecError(
            "the model gives other outputs than its graph has",
            where=graph.name,
            received=len(arrays),
            expected=", ".join(names),
        )
    flags = last or (False,) * len(arrays)
    return canonical(zip(names, arrays, flags, strict=True))


def canonical(arrays: Iterable[tuple[str, NDArray[Any], bool]]) -> dict[str, NDArray[Any]]:
    """Arrays of a model by name, with channels first.

    Args:
        arrays: (name, array, whether the model has its channels last).
    """
    import numpy as np

    return {
        name: np.ascontiguousarray(np.moveaxis(array, -1, 1)) if moves and array.ndim > 2 else array
        for name, array, moves in arrays
    }


def own_outputs(runner: ModelRunner, read: ReadModel, batch: HostArrays) -> dict[str, NDArray[Any]]:
    """What a user's model gives for one batch, by the graph's names and canonical.

    Args:
        runner: Of the model.
        read: What was read of it.
        batch: Its inputs by the graph's names, canonical.
    """
    moved = own_layout([batch[item.name] for item in read.graph.inputs], read.inputs_last)
    results = runner.run([runner.place(array) for array in moved])
    return named_outputs(read.graph, runner.read(results), read.outputs_last)


_MADE: dict[tuple[OwnProgram, str, str], tuple[str, ModelRunner]] = {}


def own_forward(graph: Graph, options: ProgramOptions, own: OwnProgram, on: tuple[str, str]) -> OwnForward:
    """The forward program of the model that options name. A process keeps the last one that it made.

    Args:
        graph: That was read of it.
        options: With ``own``.
        own: That of the options.
        on: (the backend in whose process this is, the device).

    Raises:
        UnavailableError: As ``OwnForward``; or the model is of another framework.
        CnnbenchError: The model cannot be made.
    """
    backend, device = on

    def make() -> tuple[str, ModelRunner]:
        policy = options.precision.name
        key = (own, policy, device)
        if key not in _MADE:
            _MADE.clear()
            made = make_model(own.reference, own.image)
            if made.reader.backend != backend:
                raise UnavailableError(
                    f"{own.reference} is a model of {made.reader.name}",
                    received=backend,
                    expected=made.reader.backend,
                )
            found = made.reader.code().digest(made.model)
            _MADE[key] = (found, made.reader.code().runner(made.model, own.mode, policy, device))
        return _MADE[key]

    return OwnForward(graph, options, make)
