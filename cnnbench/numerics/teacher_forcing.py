"""Graphs for checks: nodes side by side on inputs of their own, noise added to values, smaller images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Graph, Input, Node, value_names
from cnnbench.spec.layers import Add
from cnnbench.spec.layers.shape import Reshape
from cnnbench.spec.serialization import graph_from_json

Array = NDArray[Any]


def forced_name(node: str, position: int) -> str:
    """The input by which a node's operand is fed."""
    return f"forced.{node}.{position}"


def output_names(graph: Graph, node: Node) -> tuple[str, ...]:
    """The values that a node makes."""
    return value_names(node.name, len(graph.output_shapes(node)))


def float_outputs(graph: Graph, node: Node) -> tuple[str, ...]:
    """The values that a node makes and that have a gradient."""
    return tuple(value for value in output_names(graph, node) if graph.dtypes[value] == "float")


def teacher_forced(graph: Graph, nodes: Sequence[str], batch: int) -> Graph:
    """The given nodes side by side, each on inputs and with weights of its own, with all their values as outputs.

    For example, of conv -> relu it has two nodes that do not read each other: conv reads ``forced.conv.0``, and relu
    reads ``forced.relu.0``, which is fed what the oracle has for conv. So no node inherits another's error.

    Args:
        graph: The whole network.
        nodes: Names of the nodes that are kept.
        batch: Images; the inputs have these whole shapes.
    """
    inputs: list[Input] = []
    kept: list[Node] = []
    outputs: list[tuple[str, str]] = []
    for name in nodes:
        node = graph.node(name)
        names = tuple(forced_name(name, i) for i in range(len(node.inputs)))
        inputs += [
            Input(item, shape, graph.dtypes[value], batched=False)
            for item, value, shape in zip(names, node.inputs, graph.input_shapes(node, batch), strict=True)
        ]
        kept.append(replace(node, inputs=names, weights_of=None))
        outputs += [(value, value) for value in output_names(graph, node)]
    return Graph(graph.name, tuple(inputs), tuple(kept), tuple(outputs))


def producers(graph: Graph) -> dict[str, str]:
    """The node that makes each value; an input makes itself."""
    made = {value: node.name for node in graph.nodes for value in output_names(graph, node)}
    return {item.name: item.name for item in graph.inputs} | made


def owners(graph: Graph) -> dict[str, str]:
    """The node that holds each weight and running statistic, by the array's full name."""
    found: dict[str, str] = {}
    for node in graph.nodes:
        shapes = graph.input_shapes(node)
        for spec in (*node.layer.weights(shapes), *node.layer.state(shapes)):
            found[f"{node.owner}.{spec.name}"] = node.owner
    return found


def arrays_of(part: Graph, graph: Graph, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of nodes that stand alone: each has its own copy of what it shares in the whole graph.

    Args:
        part: Of ``teacher_forced`` or ``Graph.single``, whose nodes have weights and state under their own names.
        graph: The whole graph, which has nodes of the same names.
        arrays: The whole graph's weights and state by full name.
    """
    return {
        f"{node.name}.{spec.name}": arrays[f"{graph.node(node.name).owner}.{spec.name}"]
        for node in part.nodes
        for specs in (node.layer.weights(part.input_shapes(node)), node.layer.state(part.input_shapes(node)))
        for spec in specs
    }


def representatives(graph: Graph, batch: int) -> list[str]:
    """One node, the first, for each layer and shape of operands: the others would run the same op again."""
    seen: dict[Any, str] = {}
    for node in graph.nodes:
        seen.setdefault((node.layer, graph.input_shapes(node, batch)), node.name)
    return list(seen.values())


def noise_name(value: str) -> str:
    """The input by which a value's noise is fed."""
    return f"noise.{value.replace(':', '.output')}"


def noise_input(graph: Graph, value: str) -> Input | None:
    """The input by which a value's noise is fed; None for a value that gets none.

    It has the value's shape where the first axis holds images, or no axis does. Where the first axis joins images with
    something else (boxes, windows), or images lie along another axis, it has one row for each image, and is reshaped.
    A value of which more than one axis grows with the batch gets no noise.
    """
    one, two = graph.shapes()[value], graph.shapes(2)[value]
    grown = [axis for axis, size in enumerate(one) if two[axis] != size]
    if not grown:  # a parameter, for one
        return Input(noise_name(value), one, batched=False)
    if len(grown) > 1:
        return None
    return Input(noise_name(value), one[1:] if grown == [0] and one[0] == 1 else (math.prod(one),))


def with_noise(graph: Graph, values: Sequence[str]) -> Graph:
    """The graph in which noise is added to each of the given values; later nodes and outputs read the sum."""
    chosen = set(values)
    renamed: dict[str, str] = {}
    inputs = list(graph.inputs)
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes.append(replace(node, inputs=tuple(renamed.get(value, value) for value in node.inputs)))
        for value in output_names(graph, node):
            item = noise_input(graph, value) if value in chosen else None
            if item is not None:
                inputs.append(item)
                addend = item.name
                if item.full_shape(2) != graph.shapes(2)[value]:
                    addend = f"shaped.{item.name}"
                    nodes.append(Node(addend, _shaped(graph, value), (item.name,)))
                total = f"perturbed.{item.name}"
                nodes.append(Node(total, Add(), (value, addend)))
                renamed[value] = total
    outputs = tuple((name, renamed.get(value, value)) for name, value in graph.outputs)
    return Graph(graph.name, tuple(inputs), tuple(nodes), outputs)


def _shaped(graph: Graph, value: str) -> Reshape:
    """The layer that gives one row for each image the value's shape."""
    pairs = zip(graph.shapes()[value], graph.shapes(2)[value], strict=True)
    return Reshape(shape=tuple(one if one == two else -1 for one, two in pairs), whole=True)


def resized(graph: Graph, size: int) -> Graph | None:
    """The graph on images of ``size`` along each spatial axis, its layers unchanged; None where they do not fit."""
    data = graph.to_json()
    for item in data["inputs"]:
        if len(item["shape"]) > 1:
            item["shape"] = [item["shape"][0], *(size for _ in item["shape"][1:])]
    try:
        smaller = graph_from_json(data)
    except SpecError:
        return None
    same = [spec.shape for spec in smaller.named_weights()] == [spec.shape for spec in graph.named_weights()]
    return smaller if same else None


def resize_images(batch: Mapping[str, Array], graph: Graph) -> dict[str, Array]:
    """Each input with its images brought to the graph's shape by means over blocks of pixels (or by repeating them)."""
    result = dict(batch)
    for item in graph.inputs:
        array = result[item.name]
        if array.dtype.kind != "f" or array.shape[2:] == item.shape[1:]:
            continue
        for axis, size in enumerate(item.shape[1:], start=2):
            edges = np.linspace(0, array.shape[axis], size + 1).astype(int)
            starts = np.minimum(edges[:-1], array.shape[axis] - 1)
            counts = np.maximum(np.diff(edges), 1).reshape(-1, *(1,) * (array.ndim - axis - 1))
            array = np.add.reduceat(array.astype(np.float64), starts, axis=axis) / counts
        result[item.name] = array.astype(np.float32)
    return result


def more_images(
    batch: Mapping[str, Array], graph: Graph, count: int, generator: np.random.Generator
) -> dict[str, Array]:
    """The batch with further images, each the values of one of its images in another order.

    Args:
        batch: Inputs by name.
        graph: Which of them are batched.
        count: Images in all.
        generator: Of the orders.
    """
    result = dict(batch)
    for item in graph.inputs:
        images = result[item.name]
        if item.batched and 0 < len(images) < count:
            others = [generator.permuted(images[i % len(images)].ravel()) for i in range(count - len(images))]
            result[item.name] = np.concatenate([images, np.reshape(others, (-1, *images.shape[1:]))])
    return result
