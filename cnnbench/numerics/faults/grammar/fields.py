"""Other values of a layer's fields, an update rule's or a loss's, as long as shapes stay what they are."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable
from typing import Any

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Graph, Node
from cnnbench.spec.layers import Layer

LEFT_OUT = frozenset({"bias", "affine", "shape"})  # they say which arrays there are


def other_values(value: Any, hint: Any) -> list[Any]:
    """What may stand in a field in place of a value: neighbours, reversals, the other options.

    Args:
        value: The field's.
        hint: Its annotation.
    """
    options = [option for part in (hint, *typing.get_args(hint)) for option in _literals(part) if option != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1, *options]
    if isinstance(value, float):
        return [value * 1.01, value * 2.0, value * 1.001, value + 0.1, *options]
    if isinstance(value, str):
        return options
    if isinstance(value, tuple) and value:
        return [*_other_tuples(value), *options]
    return []


def _literals(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def _other_tuples(value: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    if all(isinstance(item, tuple) and len(item) == 2 for item in value):  # padding: (begin, end) of each axis
        swapped = tuple((end, begin) for begin, end in value)
        moved = [
            tuple((b + by, e - by) if i == axis else (b, e) for i, (b, e) in enumerate(value))
            for axis in range(len(value))
            for by in (1, -1)
        ]
        return [swapped, tuple(reversed(value)), *moved]
    if all(isinstance(item, int) and not isinstance(item, bool) for item in value):
        stepped = [
            tuple(n + by if i == axis else n for i, n in enumerate(value))
            for axis in range(min(len(value), 4))
            for by in (1, -1)
        ]
        return [tuple(reversed(value)), *stepped]
    if all(isinstance(item, float) for item in value):
        return [tuple(reversed(value)), (value[0] * 1.01, *value[1:])]
    return [tuple(reversed(value))]


@dataclasses.dataclass(frozen=True)
class FieldChange:
    """Another value of one field.

    Args:
        name: The field's.
        before, after: Its values.
    """

    name: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.name} {self.after!r} for {self.before!r}"


def field_changes(item: Any) -> list[FieldChange]:
    """Every other value of every field of a dataclass that it accepts."""
    hints = typing.get_type_hints(type(item))
    found = []
    for field in dataclasses.fields(item):
        if field.name in LEFT_OUT:
            continue
        before = getattr(item, field.name)
        for after in other_values(before, hints.get(field.name, Any)):
            if after != before and _accepted(item, field.name, after):
                found.append(FieldChange(field.name, before, after))
    return found


def _accepted(item: Any, name: str, value: Any) -> bool:
    try:
        dataclasses.replace(item, **{name: value})
    except (SpecError, ValueError, TypeError):
        return False
    return True


def layer_changes(graph: Graph, node: Node) -> list[FieldChange]:
    """The field changes of a node's layer that leave shapes and arrays as they are."""
    return [change for change in field_changes(node.layer) if changed_layer(graph, [node], change) is not None]


def changed_layer(graph: Graph, nodes: Iterable[Node], change: FieldChange) -> Layer | None:
    """The layer of these nodes with the change, or None where one of their shapes or arrays would become another.

    Args:
        graph: The nodes' network.
        nodes: With equal layers.
        change: Of a field.
    """
    found: Layer | None = None
    for node in nodes:
        shapes = graph.input_shapes(node)
        try:
            found = dataclasses.replace(node.layer, **{change.name: change.after}).resolve(shapes)
            same = all(
                getattr(found, rule)(shapes) == getattr(node.layer, rule)(shapes)
                for rule in ("output_shapes", "weights", "state", "masks")
            )
        except (SpecError, ValueError, TypeError, IndexError, ZeroDivisionError):
            return None
        if not same or found == node.layer:
            return None
    return found
