"""Cuts a graph at inner values and makes these inputs, so that gradients can be taken with respect to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cnnbench.spec.graph import Graph, Input


def opened(graph: Graph, values: Sequence[str]) -> Graph:
    """The graph in which every reader of some values reads a new input ``opened.<value>`` instead.

    The gradient with respect to an inner value is then the gradient with respect to an input. It also allows another
    rule than the chain rule at the cut: the gradient of the input is changed on the host, and passed on as the
    cotangent of the value.

    Args:
        graph: The network.
        values: Names of the values of nodes, whose first axis is the batch.
    """
    shapes, cut = graph.shapes(), set(values)
    inputs = tuple(Input(opening(value), shapes[value][1:]) for value in values)
    nodes = tuple(
        replace(node, inputs=tuple(opening(item) if item in cut else item for item in node.inputs))
        for node in graph.nodes
    )
    return replace(graph, inputs=(*graph.inputs, *inputs), nodes=nodes)


def opening(value: str) -> str:
    """Name of the input that replaces a value in ``opened``."""
    return f"opened.{value.replace(':', '.output')}"
