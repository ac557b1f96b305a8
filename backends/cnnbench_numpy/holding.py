"""Host arrays by name as the lists of one dtype that a bound program takes, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cnnbench.errors import DataError, did_you_mean
from cnnbench.execution.loading import BoundGraph
from cnnbench.execution.program import Program
from cnnbench.spec.graph import Graph

Array = NDArray[Any]
HostArrays = Mapping[str, Array]


@dataclass(frozen=True)
class Operands:
    """One uploaded batch: inputs and masks in a program's order, and what the loss or the gradient needs."""

    inputs: tuple[Array, ...]
    masks: tuple[Array, ...]
    targets: Array | None = None
    cotangents: tuple[Array, ...] = ()


class Holding:
    """A bound graph's arrays in one dtype; what it gives never shares memory with what it was given."""

    def __init__(self, bound: BoundGraph, dtype: DTypeLike) -> None:
        self.bound = bound
        self.dtype = np.dtype(dtype)

    @property
    def program(self) -> Program:
        """The bound program."""
        return self.bound.program

    def load(self, weights: HostArrays, state: HostArrays) -> tuple[list[Array], list[Array]]:
        """Native weights and running statistics in the program's order."""
        try:
            native, statistics = self.bound.native(weights, state)
        except KeyError as error:
            raise _missing(str(error.args[0]), {**weights, **state}) from None
        return [self._own(array) for array in native], [self._own(array) for array in statistics]

    def canonical(self, position: int, native: Array) -> Array:
        """A native weight, its gradient or a slot of it in canonical form."""
        return np.array(self.bound.canonical(position, native))

    def native(self, position: int, canonical: Array) -> Array:
        """The inverse of ``canonical``."""
        return self._own(self.bound.weights[position].to_native(canonical))

    def trainable(self) -> dict[str, int]:
        """The position of each trainable weight by name."""
        return {self.program.weight_names[i]: i for i in self.bound.trainable}

    def operands(self, batch: HostArrays, *, targets: bool = False, cotangents: bool = False) -> Operands:
        """A batch by name in the program's order; integers stay integers. Raises DataError that names what lacks."""
        graph = self.program.graph
        inputs = tuple(
            np.array(_find(batch, item.name), np.int64 if item.dtype == "int" else self.dtype, order="C")
            for item in graph.inputs
        )
        _check_shapes(graph, inputs)
        masks = tuple(self._own(_find(batch, name)) for name in self.program.mask_names)
        given = np.array(_find(batch, "targets")) if targets else None
        if given is not None and given.dtype.kind == "f":
            given = given.astype(self.dtype)
        names = [f"gradient.{name}" for name, _ in graph.outputs] if cotangents else []
        return Operands(inputs, masks, given, tuple(self._own(_find(batch, name)) for name in names))

    def named_state(self, state: Sequence[Array]) -> dict[str, Array]:
        """Running statistics by name."""
        return {name: np.array(array) for name, array in zip(self.program.state_names, state, strict=True)}

    def _own(self, array: Array) -> Array:
        return np.array(array, self.dtype, order="C")


def _check_shapes(graph: Graph, inputs: Sequence[Array]) -> None:
    """Raises DataError where an input has another shape than the graph's, or the batch sizes differ."""
    batch = next((len(x) for item, x in zip(graph.inputs, inputs, strict=True) if item.batched and x.ndim), 1)
    for item, x in zip(graph.inputs, inputs, strict=True):
        if x.shape != item.full_shape(batch):
            raise DataError(
                f"the input {item.name!r} has the wrong shape",
                where=graph.name,
                received=x.shape,
                expected=item.full_shape(batch),
            )


def _find(arrays: HostArrays, name: str) -> Array:
    if name not in arrays:
        raise _missing(name, arrays)
    return arrays[name]


def _missing(name: str, arrays: HostArrays) -> DataError:
    return DataError(f"the array {name!r} is missing", remedy=did_you_mean(name, arrays))
