"""Gives each node weights of its own where nodes share them: what sharing is compared with."""

from __future__ import annotations

from dataclasses import replace

from cnnbench.spec.graph import Graph


def with_copies(graph: Graph) -> Graph:
    """The graph in which no node uses another's weights: each has copies of them, under its own name."""
    return replace(graph, nodes=tuple(replace(node, weights_of=None) for node in graph.nodes))


def copies_of(graph: Graph) -> dict[str, list[str]]:
    """For each weight and running statistic of ``graph``, its copies in ``with_copies(graph)`` in the order of use."""
    found: dict[str, list[str]] = {}
    for node in graph.nodes:
        shapes = graph.input_shapes(node)
        for spec in (*node.layer.weights(shapes), *node.layer.state(shapes)):
            found.setdefault(f"{node.owner}.{spec.name}", []).append(f"{node.name}.{spec.name}")
    return found
