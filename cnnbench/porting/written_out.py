"""Puts one layer where a network writes it out: activations as arithmetic, rearrangements as views."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import CnnbenchError
from cnnbench.spec.equality.activations import known_activation
from cnnbench.spec.graph import Graph, Node
from cnnbench.spec.layers import Layer, Shape
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.rearrange import ChannelShuffle, DepthToSpace, Order, Rearranging, SpaceToDepth

_CONSTANTS = 2e-7  # what rounding a formula's constants to float32 changes, relative to its value
_VIEWS = {"reshape", "transpose", "squeeze", "unsqueeze", "flatten"}


@dataclass(frozen=True, eq=False)
class _Value:
    """A value as ``WrittenValue`` has it. Args: name: of the value in the graph."""

    name: str
    kind: str
    layer: Any
    inputs: tuple[_Value, ...]
    shape: Shape


def with_known_layers(graph: Graph, arrays: Mapping[str, NDArray[Any]]) -> Graph:
    """The graph with one layer for what frameworks have one for, under the name of the last node that writes it out.

    Args:
        graph: Of primitive kinds, with channels first.
        arrays: Its weights by full name.
    """
    return _rearranged(_activated(graph, arrays))


def _activated(graph: Graph, arrays: Mapping[str, NDArray[Any]]) -> Graph:
    values = {item.name: _Value(item.name, "", None, (), (1, *item.shape)) for item in graph.inputs}
    nodes = []
    for node in graph.nodes:
        inputs = tuple(values.get(value) or _Value(value, "", None, (), ()) for value in node.inputs)
        shapes = graph.output_shapes(node)
        kind = node.layer.kind if len(shapes) == 1 else ""
        made = _with_number(_Value(node.name, kind, node.layer, inputs, shapes[0]), arrays)
        found = known_activation(made, _CONSTANTS)
        if found is not None:
            layer, source = found
            node = replace(node, layer=layer, inputs=(source.name,))
            made = _Value(node.name, layer.kind, layer, (source,), shapes[0])
        values[node.name] = made
        nodes.append(node)
    changed = any(one is not other for one, other in zip(nodes, graph.nodes, strict=True))
    return replace(graph, nodes=tuple(nodes)).without_unread() if changed else graph


def _with_number(made: _Value, arrays: Mapping[str, NDArray[Any]]) -> _Value:
    """A sum or product with one number of a file as what it computes, since files do not say what is trained.

    A factor of 1 and a shift of 0 are left: they are nothing but weights.
    """
    if made.kind not in ("add", "subtract", "multiply", "divide") or len(made.inputs) != 2:
        return made
    for x, other in (made.inputs, made.inputs[::-1]):
        held = arrays.get(f"{other.name}.value") if other.kind == "parameter" else None
        if held is None or held.size != 1 or x.shape != made.shape or (made.kind == "divide" and x is made.inputs[1]):
            continue
        number, turned = float(held.reshape(())), x is made.inputs[1]
        if number == (0.0 if made.kind in ("add", "subtract") else 1.0) or (made.kind == "divide" and not number):
            continue
        layer = {
            "add": Affine(shift=number),
            "subtract": Affine(scale=-1.0, shift=number) if turned else Affine(shift=-number),
            "multiply": Affine(scale=number),
            "divide": Affine(scale=1 / number if number else 0.0),
        }[made.kind]
        return replace(made, kind="scalar_affine", layer=layer, inputs=(x,))
    return made


def _rearranged(graph: Graph) -> Graph:
    changed: dict[str, Node] = {}
    done: set[str] = set()
    for node in graph.nodes:
        if node.name in done or not _is_view(node):
            continue
        chain = _chain(graph, node)
        done.update(item.name for item in chain)
        for first, last, layer in _known_parts(graph, chain):
            changed[last.name] = replace(last, layer=layer, inputs=first.inputs)
    nodes = tuple(changed.get(node.name, node) for node in graph.nodes)
    return replace(graph, nodes=nodes).without_unread() if changed else graph


def _is_view(node: Node) -> bool:
    """Whether it moves the elements of each image within the image."""
    layer: Any = node.layer
    if layer.kind == "transpose":
        return bool(layer.permutation[0] == 0)
    return layer.kind in _VIEWS and not getattr(layer, "whole", False)


def _chain(graph: Graph, node: Node) -> list[Node]:
    found, kept, readers = [node], {value for _, value in graph.outputs}, graph.consumers()
    while found[-1].name not in kept:
        behind = readers.get(found[-1].name, [])
        if len(behind) != 1 or not _is_view(behind[0]):
            break
        found.append(behind[0])
    return found


def _known_parts(graph: Graph, chain: Sequence[Node]) -> Iterator[tuple[Node, Node, Layer]]:
    """The parts of a chain of views that are one layer, each by its first node and its last; the longest first."""
    start = 0
    while start < len(chain):
        for end in range(len(chain), start + 2, -1):
            layer = _layer_of(graph, chain[start:end])
            if layer is not None:
                yield chain[start], chain[end - 1], layer
                start = end - 1
                break
        start += 1


def _layer_of(graph: Graph, part: Sequence[Node]) -> Layer | None:
    source, target = graph.input_shapes(part[0])[0], graph.output_shapes(part[-1])[0]
    places = np.arange(math.prod(source)).reshape(source)
    moved = places
    for node in part:
        layer: Any = node.layer
        moved = moved.transpose(layer.permutation) if layer.kind == "transpose" else moved
        moved = moved.reshape(graph.output_shapes(node)[0])
    for known in _candidates(source, target):
        try:
            resolved: Rearranging = known.resolve((source,))
        except CnnbenchError:
            continue
        split, order, joined = resolved.rearrangement(source)
        if joined == target and np.array_equal(places.reshape(split).transpose(order).reshape(joined), moved):
            return resolved
    return None


def _candidates(source: Shape, target: Shape) -> Iterator[Rearranging]:
    if len(source) != len(target) or len(source) < 3:
        return
    if source == target:
        yield from (ChannelShuffle(groups=n) for n in range(2, source[1]) if source[1] % n == 0)
        return
    grows = target[2] > source[2]
    small, large = (source[2:], target[2:]) if grows else (target[2:], source[2:])
    if any(b % a for a, b in zip(small, large, strict=True)):
        return
    block = tuple(b // a for a, b in zip(small, large, strict=True))
    orders: tuple[Order, ...] = ("CRD", "DCR")
    for order in orders:
        yield DepthToSpace(block=block, order=order) if grows else SpaceToDepth(block=block, order=order)
