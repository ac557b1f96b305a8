"""Host arrays by name to the lists that a bound program takes, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cnnbench.errors import DataError, did_you_mean
from cnnbench.execution.operations import Operations, WeightLayout
from cnnbench.execution.program import Program
from cnnbench.spec.layers import Layer

Array = NDArray[Any]
HostArrays = Mapping[str, Array]


@dataclass(frozen=True)
class _Place:
    """How the weight at one position of a program is held."""

    layer: Layer
    name: str
    channels_last: bool
    layout: WeightLayout


@dataclass(frozen=True)
class Operands:
    """One uploaded batch: inputs and masks in a program's order, and what the loss or the gradient needs."""

    inputs: tuple[Array, ...]
    masks: tuple[Array, ...]
    targets: Array | None = None
    cotangents: tuple[Array, ...] = ()


class Holding:
    """The order, the dtype and the native layout of a program's arrays."""

    def __init__(self, program: Program, operations: Operations, dtype: DTypeLike) -> None:
        self.program = program
        self.dtype = np.dtype(dtype)
        self._places: dict[int, _Place] = {}
        for step in program.steps:
            if not step.weights:
                continue
            node = program.graph.node(step.name)
            layout = operations[step.layer.kind].weight_layout
            specs = step.layer.weights(program.graph.input_shapes(node))
            for position, spec in zip(step.weights, specs, strict=True):
                self._places[position] = _Place(step.layer, spec.name, step.call.channels_last, layout)

    def weights(self, arrays: HostArrays) -> list[Array]:
        """Canonical weights by name -> native ones in the program's order, in memory of their own."""
        held = []
        for position, name in enumerate(self.program.weight_names):
            place = self._places[position]
            array = self._cast(arrays, name)
            native = place.layout.to_native(place.layer, place.name, array, place.channels_last)
            held.append(np.array(native, order="C"))
        return held

    def canonical(self, position: int, native: Array) -> Array:
        """A native weight, its gradient or a slot of it -> canonical, in memory of its own."""
        place = self._places[position]
        array = place.layout.to_canonical(place.layer, place.name, native, place.channels_last)
        return np.array(array, order="C")

    def native(self, position: int, canonical: Array) -> Array:
        """The inverse of ``canonical``."""
        place = self._places[position]
        array = np.asarray(canonical, self.dtype)
        return np.array(place.layout.to_native(place.layer, place.name, array, place.channels_last), order="C")

    def state(self, arrays: HostArrays) -> list[Array]:
        """Running statistics in the program's order, in memory of their own."""
        return [np.array(self._cast(arrays, name)) for name in self.program.state_names]

    def operands(self, batch: HostArrays, *, targets: bool = False, cotangents: bool = False) -> Operands:
        """A batch by name in the program's order; integers stay integers."""
        graph = self.program.graph
        inputs = tuple(
            np.asarray(_find(batch, item.name), np.int64 if item.dtype == "int" else self.dtype, order="C")
            for item in graph.inputs
        )
        masks = tuple(self._cast(batch, name) for name in self.program.mask_names)
        given = np.asarray(_find(batch, "targets")) if targets else None
        if given is not None and given.dtype.kind == "f":
            given = given.astype(self.dtype)
        arriving = tuple(self._cast(batch, f"gradient.{name}") for name, _ in graph.outputs) if cotangents else ()
        return Operands(inputs, masks, given, arriving)

    def named_state(self, state: Sequence[Array]) -> dict[str, Array]:
        """Running statistics by name."""
        return {name: np.array(array) for name, array in zip(self.program.state_names, state, strict=True)}

    def _cast(self, arrays: HostArrays, name: str) -> Array:
        return np.asarray(_find(arrays, name), self.dtype, order="C")


def _find(arrays: HostArrays, name: str) -> Array:
    try:
        return arrays[name]
    except KeyError:
        raise DataError(f"the array {name!r} is missing", remedy=did_you_mean(name, arrays)) from None
