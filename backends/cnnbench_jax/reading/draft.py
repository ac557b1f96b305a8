"""A network while it is read from a jaxpr: layers that refer to each other, before they are named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from cnnbench.spec.layers import Layer
from cnnbench.spec.layers.shape import Transpose

BATCH = 1009  # of the function that is traced: a prime, so that an axis of images is known by its size


class UnreadFormError(Exception):
    """A form of an operation that is not read; its text says which."""


@dataclass(frozen=True, eq=False)
class FixedArray:
    """An array that depends on no input.

    Args:
        array: Its values; repeated axes take no memory.
        name: Of the parameter that it is, by its path in the tree; "" for others.
        made_by: The operation that gave it.
        operands: Of that operation.
    """

    array: np.ndarray
    name: str = ""
    made_by: str = ""
    operands: tuple[FixedArray, ...] = ()

    def compact(self) -> np.ndarray:
        """Its values, with size 1 for axes along which they are only repeated, and for the images' axis."""
        array = self.array
        for axis, size in enumerate(array.shape):
            if size == 1 or (array.strides[axis] and size % BATCH):
                continue
            first = array.take([0], axis)
            if array.strides[axis] and not (array == first).all():
                raise UnreadFormError("a constant that differs between the images of a batch")
            array = first
        return array

    def number(self) -> float | None:
        """Its value where it is one constant number, else None."""
        if self.name or self.array.dtype == bool:
            return None
        array = self.compact()
        return float(array.reshape(())) if array.size == 1 else None

    def along(self, rank: int, axis: int, size: int) -> bool:
        """Whether it has one value for each place along one axis of a value.

        Args:
            rank: Of the value.
            axis: Of the value.
            size: How many places it has along that axis.
        """
        wanted = tuple(size if i == axis else 1 for i in range(rank))
        return self.compact().shape == wanted


@dataclass(frozen=True, eq=False)
class Drafted:
    """One value of the network.

    Args:
        shape: For one image.
        layer: That makes it; None for an input.
        inputs: What the layer reads.
        arrays: Its weights by the layer's names.
        compared: In place of a layer, the comparison that it is.
    """

    shape: tuple[int, ...]
    layer: Any = None
    inputs: tuple[Drafted, ...] = ()
    arrays: dict[str, FixedArray] = field(default_factory=dict)
    compared: str = ""

    @property
    def kind(self) -> str:
        """Of its layer; "" for an input."""
        return "" if self.layer is None else str(self.layer.kind)

    def is_parameter(self) -> bool:
        """Whether it depends on no input."""
        return self.kind == "parameter"


Operand: TypeAlias = "Drafted | FixedArray"
Rule: TypeAlias = "Callable[[Draft, Drafted], Drafted | None]"
RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    """Registers what may replace a value as soon as it is made: (draft, value) -> another, or None to keep it."""
    RULES.append(function)
    return function


@dataclass
class Draft:
    """The values so far; equal ones are one.

    Args:
        known: By what they are.
        notes: What the graph does not show.
        image: An input, of which the number of images can be taken.
        kept: Everything that was made, so that no other has its identity.
    """

    known: dict[Any, Drafted] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    image: Drafted | None = None
    kept: list[Any] = field(default_factory=list)

    def add(self, layer: Layer, *inputs: Drafted, **arrays: FixedArray | None) -> Drafted:
        """The value that a layer makes, or what the rules put in its place.

        Args:
            layer: The layer.
            inputs: What it reads.
            arrays: Its weights by the layer's names; None is left out.
        """
        given = {role: item for role, item in arrays.items() if item is not None}
        key = (layer, tuple(map(id, inputs)), tuple((role, id(item)) for role, item in given.items()))
        if key in self.known:
            return self.known[key]
        shapes = tuple(item.shape for item in inputs)
        resolved = layer.resolve(shapes)
        made = Drafted(resolved.output_shapes(shapes)[0], resolved, inputs, given)
        self.known[key] = made
        self.kept.append(made)
        for replaces in RULES:
            other = replaces(self, made)
            if other is not None:
                self.known[key] = other
                return other
        return made

    def compared(self, how: str, one: Drafted, other: Drafted) -> Drafted:
        """A comparison: it is no layer, but a selection that reads it may be one.

        Args:
            how: Its name, such as ``ge``.
            one: What stands before it.
            other: What stands behind it.
        """
        self.kept.append(made := Drafted(one.shape, None, (one, other), compared=how))
        return made

    def value(self, operand: Operand) -> Drafted:
        """An operand as a value; a constant becomes a parameter, with size 1 for repeated axes."""
        if isinstance(operand, Drafted):
            return operand
        from cnnbench.spec.layers.arithmetic import Parameter

        array = operand.compact()
        key = (id(operand), "parameter")
        if key not in self.known:
            layer = Parameter(shape=array.shape, trainable=bool(operand.name))
            stored = FixedArray(array, operand.name, operand.made_by, operand.operands)
            made = Drafted(array.shape, layer, (), {"value": stored})
            self.known[key] = made
            self.kept += [made, operand]
        return self.known[key]

    def moved(self, x: Drafted, order: Sequence[int]) -> Drafted:
        """A value with its axes in another order; two such in a row are one.

        Args:
            x: The value.
            order: For each axis of the result, that of the value.
        """
        order = tuple(order)
        if x.kind == "transpose":
            order = tuple(x.layer.permutation[axis] for axis in order)
            x = x.inputs[0]
        return x if order == tuple(range(len(order))) else self.add(Transpose(permutation=order), x)


def behind_order(x: Drafted) -> tuple[Drafted, tuple[int, ...]]:
    """A value without the transposition that makes it, and that transposition's order."""
    if x.kind == "transpose":
        return x.inputs[0], tuple(x.layer.permutation)
    return x, tuple(range(len(x.shape)))


def inverse(order: Sequence[int]) -> tuple[int, ...]:
    """The order that undoes another."""
    return tuple(sorted(range(len(order)), key=lambda axis: order[axis]))
