"""One operation of an exported program, its arguments by name, and the layers that are put in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers import Layer
from cnnbench.spec.layers.arithmetic import Parameter
from cnnbench.spec.layers.shape import Expand, Unsqueeze

BATCH = 71  # of a module that is exported here: a prime, so that an axis of images is known by its size
SAVED_BATCH = 2  # of a program in a file


@dataclass(frozen=True)
class FixedTensor:
    """A tensor that depends on no input, with the name of the parameter or buffer that it comes from."""

    tensor: torch.Tensor
    name: str = ""


Handler: TypeAlias = "Callable[[AtenCall], Any]"
HANDLERS: dict[str, Handler] = {}


def reads(*targets: str) -> Callable[[Handler], Handler]:
    """Registers what reads some operations, by their names without ``aten.`` and overload.

    Args:
        targets: Their names.
    """

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(targets, handler))
        return handler

    return register


class NotReadError(Exception):
    """A form of an operation that is not read; its text says which."""


@dataclass
class ReadProgram:
    """A graph while it is made.

    Args:
        builder: Of the graph.
        arrays: Its arrays so far.
        owners: The node that holds each parameter, by the parameter's name and the layer's role of it.
        with_parameters: The paths of modules that have parameters of their own.
        trainable: The names of parameters, in contrast to buffers.
        notes: What the graph does not show.
        noises: What acts in training only and the graph has no layer for: where, and what with its rate.
        used: How often each name was given.
        batched: An input, of which the number of images can be taken.
        batch: How many images the program was exported for.
        sources: What the layer reads that makes a value, by the value's name.
        outer: By the name of a value whose images are joined with another axis: that axis' size, and what goes before
            the images in it.
    """

    builder: Builder
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    owners: dict[tuple[str, ...], tuple[str, Layer]] = field(default_factory=dict)
    with_parameters: set[str] = field(default_factory=set)
    trainable: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    noises: list[tuple[str, str]] = field(default_factory=list)
    used: dict[str, int] = field(default_factory=dict)
    batched: Value | None = None
    batch: int = BATCH
    sources: dict[str, tuple[Value, ...]] = field(default_factory=dict)
    outer: dict[str, tuple[int, int]] = field(default_factory=dict)

    def unique(self, name: str) -> str:
        """The name, or with a number where it is taken."""
        count = self.used.get(name, 0)
        self.used[name] = count + 1
        return self.unique(f"{name}_{count}") if count else name


@dataclass
class AtenCall:
    """One operation.

    Args:
        op: Its name without ``aten.`` and overload.
        arguments: By the names of its schema, defaults included.
        path: The module that it belongs to.
        plain: Whether that module is one of PyTorch's own layers.
        shape: Of its result, with all images; () where it gives several.
        reading: The graph so far.
    """

    op: str
    arguments: dict[str, Any]
    path: str
    plain: bool
    shape: tuple[int, ...]
    reading: ReadProgram

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def value(self, name: str) -> Value:
        """An argument as a value of the graph."""
        return self.as_value(self.arguments[name])

    def as_value(self, found: Any) -> Value:
        """A value of the graph; a constant becomes a layer that holds it."""
        if isinstance(found, Value):
            return found
        if not isinstance(found, FixedTensor):
            raise NotReadError(f"an operand is {type(found).__name__}")
        tensor, repeated = found.tensor, False
        if _is_for_each_image(found, self.shape, self.reading.batch):
            tensor, repeated = tensor[:1], True
        trainable = found.name in self.reading.trainable
        layer = Parameter(shape=tuple(tensor.shape), trainable=trainable)
        value = self.add(layer, name=found.name or self._name("constant"), arrays={"value": (tensor, found.name)})
        if repeated and self.reading.batched is not None:
            return self.add(Expand(shape=value.shape[1:]), value, self.reading.batched, part="expand")
        return value

    def number(self, name: str) -> float | None:
        """An argument that is one known number, else None."""
        found = self.arguments[name]
        if isinstance(found, FixedTensor) and found.tensor.numel() == 1 and not found.name:
            return float(found.tensor.reshape(()))
        return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None

    def constant(self, name: str) -> FixedTensor | None:
        """An argument that depends on no input, else None."""
        found = self.arguments.get(name)
        return found if isinstance(found, FixedTensor) else None

    def weight(self, name: str) -> FixedTensor | None:
        """An argument that is a weight, None where it is absent. Raises NotReadError where it is computed."""
        found = self.arguments.get(name)
        if found is not None and not isinstance(found, FixedTensor):
            raise NotReadError(f"its {name} is computed from an input of the model")
        return found

    def add(
        self,
        layer: Layer,
        *values: Value,
        part: str = "",
        name: str = "",
        arrays: dict[str, tuple[torch.Tensor, str]] | None = None,
    ) -> Value:
        """Adds a layer and returns its first output.

        Args:
            layer: The layer.
            values: What it reads.
            part: Of what the operation becomes, where it becomes several layers.
            name: Instead of the name that the module's path gives.
            arrays: By the layer's names, each with the name of the parameter that it is.
        """
        return self.add_all(layer, *values, part=part, name=name, arrays=arrays)[0]

    def add_all(
        self,
        layer: Layer,
        *values: Value,
        part: str = "",
        name: str = "",
        arrays: dict[str, tuple[torch.Tensor, str]] | None = None,
    ) -> tuple[Value, ...]:
        """As ``add``, but returns every output.

        Args:
            layer: The layer.
            values: What it reads.
            part: As in ``add``.
            name: As in ``add``.
            arrays: As in ``add``.
        """
        given = arrays or {}
        reading, key = self.reading, tuple(f"{role}={source}" for role, (_, source) in given.items())
        chosen = reading.unique(name or self._name(part))
        if given and all(source for _, source in given.values()):
            owner = reading.owners.get((layer.kind, *key))
            if owner is not None:
                try:
                    return reading.builder.add_all(chosen, layer, *values, weights_of=owner[0])
                except SpecError:
                    reading.notes.append(f"{chosen} has a copy of the weights of {owner[0]}, which it uses otherwise")
            else:
                reading.owners[(layer.kind, *key)] = (chosen, layer)
        made = reading.builder.add_all(chosen, layer, *values)
        reading.sources.update((item.name, values) for item in made)
        for role, (array, _) in given.items():
            reading.arrays[f"{chosen}.{role}"] = _stored(array)
        return made

    def weighted(self, layer: Layer, *values: Value, **arrays: FixedTensor | None) -> Value:
        """Adds a layer with weights, called as the module that they belong to.

        Args:
            layer: The layer.
            values: What it reads.
            arrays: By the layer's names; what is None is left out.
        """
        given = {role: item for role, item in arrays.items() if item is not None}
        named = {role: (item.tensor, item.name) for role, item in given.items()}
        return self.add(layer, *values, name=self.owner(given), arrays=named)

    def owner(self, given: dict[str, FixedTensor]) -> str:
        """The name of the module to which weights belong; "" where none has a name."""
        for item in given.values():
            head, _, last = item.name.rpartition(".")
            if item.name:
                end = last.removesuffix("weight").removesuffix("bias").strip("_")
                return ".".join(filter(None, (head, end))) or self.op
        return ""

    def _name(self, part: str) -> str:
        own = self.plain and self.path not in self.reading.with_parameters and not part
        if own and self.path:
            return self.path
        return ".".join(filter(None, (self.path, part or self.op.strip("_"))))

    def aligned(self, values: Sequence[Value]) -> list[Value]:
        """Values of one rank: axes of size 1 are put in front of the shorter ones."""
        rank = max(len(value.shape) for value in values)
        return [
            self.add(Unsqueeze(axes=tuple(range(rank - len(value.shape)))), value, part="unsqueeze")
            if len(value.shape) < rank
            else value
            for value in values
        ]


def _stored(tensor: torch.Tensor) -> np.ndarray:
    """A weight on the host, in float32 where that holds it exactly."""
    array = tensor.detach().cpu().numpy().astype(np.float64)
    narrow = array.astype(np.float32)
    return narrow if np.array_equal(narrow, array, equal_nan=True) else np.ascontiguousarray(array)


def _is_for_each_image(found: FixedTensor, shape: Sequence[int], batch: int) -> bool:
    """Whether a constant has as many rows as there are images, all alike, such as a class token that was expanded."""
    tensor = found.tensor
    if tensor.ndim < 2 or tensor.ndim != len(shape) or tensor.shape[0] != batch:
        return False
    return (tensor.stride(0) == 0 or not found.name) and bool((tensor == tensor[:1]).all())
