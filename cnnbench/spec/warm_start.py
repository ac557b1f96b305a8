"""Weights that start from another network's: by name, or layer by layer as a deep network starts from a shallow one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cnnbench.errors import DataError
from cnnbench.spec.graph import Graph
from cnnbench.spec.initializers import kernel_nodes
from cnnbench.spec.layers import Shape
from cnnbench.spec.passes import lower

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Arrays = Mapping[str, Array]

Layers = Sequence[Mapping[str, Shape]]
"""By layer with a kernel, in order: the arrays of it and of the norms after it, with their shapes."""


def same_names(arrays: Arrays, given: Arrays) -> dict[str, Array]:
    """Those of the given arrays that have the name and the shape of one of the network's.

    Args:
        arrays: Of the network.
        given: Of a file, such as another network's with as many features and other classes.

    Raises:
        DataError: There is none.
    """
    found = {name: given[name] for name in arrays if name in given and given[name].shape == arrays[name].shape}
    if not found:
        remedy = "name the network that the file is of: its layers are then matched in order"
        raise DataError("no array has the name and the shape of one of the network's", remedy=remedy)
    return found


def from_shallow(graph: Graph, shallow: Graph, given: Arrays, *, first: int, last: int) -> dict[str, Array]:
    """Arrays of a deep network out of a shallow one's: its first layers and its last ones.

    A layer goes to the next one of the deep network whose arrays have the same shapes, from either end. So VGG's
    deeper networks start from the first four convolutions and the last three layers of the network of eleven.

    Args:
        graph: The deep network.
        shallow: The network that was trained.
        given: Its arrays.
        first: Of how many layers, from the input.
        last: Of how many layers, from the output.

    Returns:
        By the names of the deep network; what is not there starts as it would.

    Raises:
        DataError: A layer of the shallow network has no counterpart.

    Source: Simonyan, Zisserman (2014), arXiv:1409.1556, section 3.1.
    """
    deep, trained = _layers(graph), _layers(shallow)
    if not 0 < first + last <= len(trained):
        raise DataError(
            f"{shallow.name} cannot give so many layers",
            received=f"{first} first and {last} last",
            expected=f"from 1 to {len(trained)} together",
        )
    pairs = [*_matched(deep, trained[:first]), *_matched(deep[::-1], trained[::-1][:last])]
    return {
        own: given[other] for ours, theirs in pairs for own, other in zip(ours, theirs, strict=True)
    }  # the arrays of a layer stand in one order in every network


def _matched(deep: Layers, trained: Layers) -> Iterator[tuple[Mapping[str, Shape], Mapping[str, Shape]]]:
    rest = iter(deep)
    for theirs in trained:
        ours = next((item for item in rest if tuple(item.values()) == tuple(theirs.values())), None)
        if ours is None:
            name = next(iter(theirs))
            raise DataError(
                "a layer has no counterpart in the deep network",
                where=name,
                received=f"shape {theirs[name]}",
                remedy="take fewer layers of the shallow network",
            )
        yield ours, theirs


def _layers(graph: Graph) -> list[dict[str, Shape]]:
    lowered = lower(graph)
    kernels, found = kernel_nodes(lowered), list[dict[str, Shape]]()
    for node in lowered.nodes:
        shapes = lowered.input_shapes(node)
        arrays = {f"{node.name}.{s.name}": s.shape for s in (*node.layer.weights(shapes), *node.layer.state(shapes))}
        if node.owner != node.name or not arrays:
            continue
        if node.name in kernels:
            found.append(arrays)
        elif found:
            found[-1] |= arrays
    return found
