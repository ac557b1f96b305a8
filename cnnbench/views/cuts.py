"""Graphs that are cut at values, so that a gradient with respect to an inner value is one with respect to an input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cnnbench.spec.graph import Graph, Input


def opened(graph: Graph, values: Sequence[str]) -> Graph:
    """The graph cut at values: what reads such a value reads an input ``opened.<value>`` in its place.

    So the gradient with respect to an inner value is one with respect to an input, and a rule of one's own may stand
    where the chain rule would: what comes back at the cut is changed on the host and sent on as the value's cotangent.

    Args:
        graph: The network.
        values: Of nodes, one batch axis first.
    """
    shapes, cut = graph.shapes(), set(values)
    inputs = tuple(Input(opening(value), shapes[value][1:]) for value in values)
    nodes = tuple(
        replace(node, inputs=tuple(opening(item) if item in cut else item for item in node.inputs))
        for node in graph.nodes
    )
    return replace(graph, inputs=(*graph.inputs, *inputs), nodes=nodes)


def opening(value: str) -> str:
    """The input that stands for a value where a graph is cut at it."""
    return f"opened.{value.replace(':', '.output')}"
