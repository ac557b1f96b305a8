"""Names in a graph: nodes' are dotted paths, and values, weights and running statistics are named after them."""

from __future__ import annotations


def value_names(node: str, count: int) -> tuple[str, ...]:
    """The names of a node's outputs: ``node``, ``node:1``, ``node:2`` ..."""
    return (node, *(f"{node}:{i}" for i in range(1, count)))


def producer(value: str) -> str:
    """The node or the input that gives a value: ``node`` of ``node:1``."""
    return value.partition(":")[0]


def is_within(name: str, scope: str) -> bool:
    """Whether a node or a weight has a name or lies below it: names are dotted paths."""
    return name == scope or name.startswith(f"{scope}.")


def weight_parts(name: str) -> tuple[str, str]:
    """The node that holds a weight or a running statistic, and the weight's own name, of its full name.

    >>> weight_parts("layer1.0.conv1.bias")
    ('layer1.0.conv1', 'bias')
    """
    node, _, own = name.rpartition(".")
    return node, own
