"""Coverage of fuzzing: kinds by classes of their fields' values, by precision and by rank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from cnnbench.numerics.case import Case
from cnnbench.spec.graph import Graph, Node


def classes_of(case: Case) -> list[str]:
    """Every class that a network counts for: ``conv``, ``conv.stride=differ``, ``conv in bfloat16`` ..."""
    graph = case.graph
    return [name for node in graph.nodes for name in _of_node(graph, node, case.policy.name)]


def _of_node(graph: Graph, node: Node, precision: str) -> Iterator[str]:
    kind = node.layer.kind
    yield kind
    yield f"{kind} in {precision}"
    shapes = graph.input_shapes(node)
    if shapes:
        yield f"{kind} of {max(len(shapes[0]) - 2, 0)} axes"
    if node.weights_of is not None:
        yield f"{kind} with shared weights"
    for item in fields(node.layer):
        yield f"{kind}.{item.name}={value_class(getattr(node.layer, item.name))}"


def value_class(value: Any) -> str:
    """Which kind of value it is: names as they are, numbers up to 3, tuples by whether their items are equal."""
    if value is None or isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return str(value) if -1 <= value <= 3 else ("more" if value > 3 else "less")
    if isinstance(value, float):
        return str(value) if value in (0.0, 0.5, 1.0, 2.0) else ("positive" if value > 0 else "negative")
    if isinstance(value, tuple):
        if not value:
            return "none"
        equal = len(set(value)) == 1
        return value_class(value[0]) if equal else "differ"
    return type(value).__name__


def added(coverage: Mapping[str, int], classes: Iterable[str]) -> dict[str, int]:
    """The counts with those of one more network."""
    return dict(sorted((Counter(coverage) + Counter(classes)).items()))


def kinds_seen(coverage: Mapping[str, int]) -> dict[str, int]:
    """The counts of whole kinds, those seen least first."""
    whole = {name: count for name, count in coverage.items() if " " not in name and "." not in name}
    return dict(sorted(whole.items(), key=lambda item: item[1]))
