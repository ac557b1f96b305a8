"""A network as data: nodes, their wiring, shape inference, parts of it, digest and JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from cnnbench.errors import SpecError, did_you_mean
from cnnbench.spec.graph.names import producer, value_names
from cnnbench.spec.layers import Dtype, Layer, MaskSpec, Shape, Shapes, WeightSpec


@dataclass(frozen=True)
class Input:
    """A program input.

    Args:
        name: Its name, in one namespace with the nodes.
        shape: The shape of one image (C, *spatial); the whole shape where ``batched`` is false.
        dtype: ``float`` follows the precision policy; ``int`` holds indices.
        batched: Whether a batch axis stands before ``shape``.
    """

    name: str
    shape: Shape
    dtype: Literal["float", "int"] = "float"
    batched: bool = True

    def full_shape(self, batch: int) -> Shape:
        """The shape with its batch axis."""
        return (batch, *self.shape) if self.batched else self.shape


@dataclass(frozen=True)
class Node:
    """One resolved layer in a graph.

    Args:
        name: A dotted path such as ``layer1.0.conv1``.
        layer: What it computes.
        inputs: The values that it reads: ``name`` (the first output of a node, or an input) or ``name:1``.
        weights_of: The node whose weights and running statistics it uses; None for its own. That node comes earlier
            and uses its own, or was left out where the graph is a part of a network.
    """

    name: str
    layer: Layer
    inputs: tuple[str, ...]
    weights_of: str | None = None

    @property
    def owner(self) -> str:
        """The node under whose name its weights and running statistics are kept: itself, or the one it shares with."""
        return self.weights_of or self.name


@dataclass(frozen=True)
class Graph:
    """A validated network. Build one with ``Builder``.

    Args:
        name: What it is called; not part of the digest.
        inputs: The program inputs.
        nodes: In an order in which every node follows what it reads.
        outputs: (output name, value) pairs, the main one first.
    """

    name: str
    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[tuple[str, str], ...]

    def shapes(self, batch: int = 1) -> Mapping[str, Shape]:
        """The shape of every value, batch axis included."""
        cache = self.__dict__.setdefault("_shapes", {})
        if batch not in cache:
            cache[batch] = self._infer(batch)
        shapes: Mapping[str, Shape] = cache[batch]
        return shapes

    def _infer(self, batch: int) -> dict[str, Shape]:
        shapes = {item.name: item.full_shape(batch) for item in self.inputs}
        for node in self.nodes:
            results = node.layer.output_shapes(tuple(shapes[value] for value in node.inputs))
            shapes.update(zip(value_names(node.name, len(results)), results, strict=True))
        return shapes

    @cached_property
    def dtypes(self) -> Mapping[str, Dtype]:
        """The dtype of every value."""
        found: dict[str, Dtype] = {item.name: item.dtype for item in self.inputs}
        for node in self.nodes:
            count = len(self.output_shapes(node))
            read = tuple(found[value] for value in node.inputs)
            found.update(zip(value_names(node.name, count), node.layer.output_dtypes(read, count), strict=True))
        return found

    @property
    def differentiable_outputs(self) -> tuple[str, ...]:
        """The names of the outputs that hold floats."""
        return tuple(name for name, value in self.outputs if self.dtypes[value] == "float")

    def with_float_outputs(self) -> Graph:
        """The graph with only those outputs of which gradients are taken."""
        kept = tuple(pair for pair in self.outputs if pair[0] in self.differentiable_outputs)
        return self if kept == self.outputs else replace(self, outputs=kept)

    def input_shapes(self, node: Node, batch: int = 1) -> Shapes:
        """The shapes of what ``node`` reads."""
        shapes = self.shapes(batch)
        return tuple(shapes[value] for value in node.inputs)

    def output_shapes(self, node: Node, batch: int = 1) -> Shapes:
        """The shapes of what ``node`` produces."""
        return node.layer.output_shapes(self.input_shapes(node, batch))

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    def node(self, name: str) -> Node:
        """The node of that name; raises SpecError with the nearest name where there is none."""
        try:
            return self._by_name[name]
        except KeyError:
            raise SpecError(f"{self.name} has no node {name!r}", remedy=did_you_mean(name, self._by_name)) from None

    def consumers(self) -> dict[str, list[Node]]:
        """For each value, the nodes that read it (once for each time that they do)."""
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for value in node.inputs:
                readers.setdefault(value, []).append(node)
        return readers

    def named_weights(self) -> tuple[WeightSpec, ...]:
        """Every weight (trainable or fixed) once, by its full name ``<owner>.<weight>``, in node order."""
        return self._named("weights", lambda layer, shapes: layer.weights(shapes))

    def named_state(self) -> tuple[WeightSpec, ...]:
        """Every running statistic once, by its full name ``<owner>.<statistic>``, in node order."""
        return self._named("state", lambda layer, shapes: layer.state(shapes))

    def _named(self, kind: str, specs_of: Callable[[Layer, Shapes], tuple[WeightSpec, ...]]) -> tuple[WeightSpec, ...]:
        cache: dict[str, tuple[WeightSpec, ...]] = self.__dict__.setdefault("_specs", {})
        if kind not in cache:
            found: dict[str, WeightSpec] = {}
            for node in self.nodes:
                for spec in specs_of(node.layer, self.input_shapes(node)):
                    name = f"{node.owner}.{spec.name}"
                    found.setdefault(name, replace(spec, name=name))
            cache[kind] = tuple(found.values())
        return cache[kind]

    @cached_property
    def sharing(self) -> Mapping[str, tuple[str, ...]]:
        """For each owner of weights that several nodes use, those nodes in order."""
        users: dict[str, list[str]] = {}
        for node in self.nodes:
            users.setdefault(node.owner, []).append(node.name)
        return {owner: tuple(names) for owner, names in users.items() if len(names) > 1}

    def named_masks(self, batch: int = 1) -> tuple[MaskSpec, ...]:
        """Every random program input of a training pass by its full name, in node order."""
        return tuple(
            replace(spec, name=f"{node.name}.{spec.name}")
            for node in self.nodes
            for spec in node.layer.masks(self.input_shapes(node, batch))
        )

    def macs(self, batch: int = 1) -> int:
        """Multiply-accumulates of convolutions and linear layers."""
        return sum(
            node.layer.macs(self.input_shapes(node, batch), self.output_shapes(node, batch)) for node in self.nodes
        )

    def macs_attention(self, batch: int = 1) -> int:
        """Multiply-accumulates of attention's products of activations."""
        return sum(
            node.layer.macs_attention(self.input_shapes(node, batch), self.output_shapes(node, batch))
            for node in self.nodes
        )

    def single(self, name: str, batch: int = 1) -> Graph:
        """A graph of the node ``name`` alone, its inputs fed as ``input0``, ``input1`` ... of this batch's shapes.

        The node keeps its name and has weights of its own under it, also where it shares another node's in the whole
        graph; its outputs are ``output0``, ``output1`` ...
        """
        node = self.node(name)
        shapes = self.input_shapes(node, batch)
        inputs = tuple(
            Input(f"input{i}", shape, self.dtypes[value], batched=False)
            for i, (value, shape) in enumerate(zip(node.inputs, shapes, strict=True))
        )
        if any(item.name == node.name for item in inputs):
            raise SpecError(f"the node's name {node.name!r} is needed for its input", where=self.name)
        values = value_names(node.name, len(self.output_shapes(node, batch)))
        return Graph(
            f"{self.name}/{name}",
            inputs,
            (replace(node, inputs=tuple(item.name for item in inputs), weights_of=None),),
            tuple((f"output{i}", value) for i, value in enumerate(values)),
        )

    def prefix(self, values: Sequence[str]) -> Graph:
        """The part of the graph that the given values need, with those values as outputs under their own names.

        All inputs stay, and weights keep their names, also where the node that shares its own was left out. Raises
        SpecError with the nearest name where there is no such value.
        """
        shapes = self.shapes()
        for value in values:
            if value not in shapes:
                raise SpecError(f"{self.name} has no value {value!r}", remedy=did_you_mean(value, shapes))
        return replace(self, outputs=tuple((value, value) for value in values)).without_unread()

    def without_unread(self) -> Graph:
        """Without the nodes that no output needs; weights keep their names as in ``prefix``."""
        needed = {producer(value) for _, value in self.outputs}
        nodes: list[Node] = []
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(map(producer, node.inputs))
                nodes.append(node)
        return replace(self, nodes=tuple(reversed(nodes)))

    def to_json(self) -> dict[str, Any]:
        """Plain data from which ``spec.serialization.graph_from_json`` makes an equal graph."""
        return {
            "name": self.name,
            "inputs": [
                {"name": i.name, "shape": list(i.shape), "dtype": i.dtype, "batched": i.batched} for i in self.inputs
            ],
            "nodes": [_node_json(node) for node in self.nodes],
            "outputs": [list(pair) for pair in self.outputs],
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON without the graph's name: equal digests, equal networks."""
        content = {key: value for key, value in self.to_json().items() if key != "name"}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def _node_json(node: Node) -> dict[str, Any]:
    """``weights_of`` only where it is not the node itself, so that other graphs keep their digest."""
    shared = {} if node.weights_of is None else {"weights_of": node.weights_of}
    return {"name": node.name, "kind": node.layer.kind, "inputs": list(node.inputs), **shared, **node.layer.fields()}
