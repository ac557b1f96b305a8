"""What layers and networks may read: inputs of the right shapes, and numbers of the right kind."""

from __future__ import annotations

from collections.abc import Mapping

from cnnbench.errors import SpecError
from cnnbench.spec.graph.model import Graph
from cnnbench.spec.layers import Dtypes, Layer, Shape


def require_inputs(graph: Graph, found: Mapping[str, Shape], where: str) -> None:
    """Raises SpecError where a network that is put into another graph would not get its inputs.

    Args:
        graph: The network.
        found: The shapes of what it would read, by the names of its inputs.
        where: For the message.
    """
    expected = {item.name: item.full_shape(1) for item in graph.inputs}
    if dict(found) != expected:
        raise SpecError(f"{graph.name} does not take these inputs", where=where, received=found, expected=expected)


def output_dtypes(layer: Layer, inputs: Dtypes, count: int) -> Dtypes:
    """The dtypes of a layer's outputs; raises SpecError where an input has the wrong one.

    Args:
        layer: Resolved.
        inputs: The dtypes that it reads.
        count: Of its outputs.
    """
    for position, dtype in enumerate(inputs):
        expected = "int" if position in layer.int_inputs else "float"
        if dtype != expected and not (layer.moves and position not in layer.int_inputs):
            raise SpecError(
                f"input {position} holds the wrong kind of numbers",
                received=dtype,
                expected=expected,
                remedy="declare a program input of indices with dtype='int'" if expected == "int" else None,
            )
    return layer.output_dtypes(inputs, count)
