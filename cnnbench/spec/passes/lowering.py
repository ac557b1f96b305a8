"""Replaces composite kinds by the primitives that make them up."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from cnnbench.spec.composites import Composite
from cnnbench.spec.graph import Graph, Node, value_names


def lower(graph: Graph, *, native: Collection[str] = ()) -> Graph:
    """The graph with composite kinds replaced by their parts, but for the kinds in ``native``.

    A part is named ``<node>.<part>``, so weights keep their names, and where a composite uses another's weights, each
    of its parts that has weights uses those of the other's part. Outputs keep their names; the value of a replaced
    node has the name of the part that makes it.
    """
    if not any(isinstance(node.layer, Composite) and node.layer.kind not in native for node in graph.nodes):
        return graph
    renamed: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(renamed.get(value, value) for value in node.inputs)
        if not isinstance(node.layer, Composite) or node.layer.kind in native:
            nodes.append(replace(node, inputs=inputs))
            continue
        parts = lower(node.layer.graph(graph.input_shapes(node)), native=native)
        inner = {item.name: value for item, value in zip(parts.inputs, inputs, strict=True)}
        for part in parts.nodes:
            part_inputs = tuple(inner.get(value, f"{node.name}.{value}") for value in part.inputs)
            nodes.append(Node(f"{node.name}.{part.name}", part.layer, part_inputs, _part_owner(node, part, parts)))
        for outer, (_, value) in zip(value_names(node.name, len(parts.outputs)), parts.outputs, strict=True):
            renamed[outer] = inner.get(value, f"{node.name}.{value}")
    outputs = tuple((name, renamed.get(value, value)) for name, value in graph.outputs)
    return replace(graph, nodes=tuple(nodes), outputs=outputs)


def _part_owner(node: Node, part: Node, parts: Graph) -> str | None:
    """The part whose weights a part uses, None for its own or none at all."""
    shapes = parts.input_shapes(part)
    owner = f"{node.owner}.{part.owner}"
    has_arrays = bool(part.layer.weights(shapes) or part.layer.state(shapes))
    return owner if has_arrays and owner != f"{node.name}.{part.name}" else None
