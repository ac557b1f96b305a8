"""What an exporter sees of one node, and what it writes: ONNX nodes, constants and the node's weights.

An exporter is a function of a ``NodeWriter`` registered for a layer kind: ``@exporter("relu")``. It returns the names
of the node's outputs, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Graph, Node
from cnnbench.spec.graph.names import value_names
from cnnbench.spec.interchange.onnx_metadata import Kept, keep
from cnnbench.spec.layers import Layer

Array = NDArray[Any]
Exporter = Callable[["NodeWriter"], Sequence[str]]

EXPORTERS: dict[str, Exporter] = {}


def exporter(*kinds: str) -> Callable[[Exporter], Exporter]:
    """A decorator that makes a function the exporter of some layer kinds."""

    def decorate(function: Exporter) -> Exporter:
        EXPORTERS.update(dict.fromkeys(kinds, function))
        return function

    return decorate


@dataclass
class ModelWriter:
    """An ONNX graph while it is written.

    Args:
        graph: What is written, in primitive kinds.
        arrays: Its weights and running statistics by full name.
        dtype: Of all floats in the model.

    Attributes:
        nodes: ``onnx.NodeProto``s in order. initializers: arrays by name.
    """

    graph: Graph
    arrays: Mapping[str, Array]
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))
    nodes: list[Any] = field(default_factory=list)
    initializers: dict[str, Array] = field(default_factory=dict)

    def stored(self, array: Array) -> Array:
        """An array in the type that the model has."""
        found = np.asarray(array)
        return np.array(found, self.dtype if found.dtype.kind == "f" else np.int64, order="C")


class NodeWriter:
    """One node of the graph while it is written.

    Args:
        model: What it is part of.
        node: The node.
    """

    def __init__(self, model: ModelWriter, node: Node) -> None:
        self.model = model
        self.node = node
        self.layer: Any = node.layer
        self.inputs = node.inputs
        self.shapes = model.graph.input_shapes(node)
        self.output_shapes = model.graph.output_shapes(node)
        self.training: Kept | None = None
        self._count = 0

    @property
    def x(self) -> str:
        """The first input."""
        return self.inputs[0]

    @property
    def rank(self) -> int:
        """The number of axes of the first input."""
        return len(self.shapes[0])

    def is_int(self, position: int = 0) -> bool:
        """Whether an input holds integers."""
        return self.model.graph.dtypes[self.inputs[position]] == "int"

    def op(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Adds an ONNX node; the name of its first output, behind which the others have ``#1``, ``#2`` ...

        Args:
            operator: Of the default domain.
            inputs: Names of values; "" for an optional one that is left out.
            outputs: How many it has.
            attributes: None: left out.
        """
        from onnx import helper

        name = self._fresh(operator.lower())
        given = {key: value for key, value in attributes.items() if value is not None}
        names = [name, *(f"{name}#{i}" for i in range(1, outputs))]
        self.model.nodes.append(helper.make_node(operator, list(inputs), names, name=name, **given))
        return name

    def constant(self, value: Any, what: str = "constant") -> str:
        """Adds an array that is part of the network; floats in the model's type, integers in 64 bits."""
        name = self._fresh(what)
        self.model.initializers[name] = self.model.stored(np.asarray(value))
        return name

    def typed(self, array: Array, what: str) -> str:
        """Adds an array in its own type."""
        name = self._fresh(what)
        self.model.initializers[name] = np.array(array, order="C")
        return name

    def has(self, weight: str) -> bool:
        """Whether the layer has a weight or a running statistic of this name."""
        layer: Layer = self.layer
        return any(spec.name == weight for spec in (*layer.weights(self.shapes), *layer.state(self.shapes)))

    def array(self, weight: str) -> Array:
        """A weight or running statistic of the node, or of the one whose weights it uses.

        Raises:
            SpecError: It is not among the arrays.
        """
        full = f"{self.node.owner}.{weight}"
        if full not in self.model.arrays:
            raise SpecError("an array is missing", where=self.node.name, expected=full)
        return np.asarray(self.model.arrays[full])

    def weight(self, name: str, change: Callable[[Array], Array] | None = None, form: str = "") -> str:
        """A weight as a value. It is stored once, also where several nodes use it in the same form.

        Args:
            name: Without the node.
            change: What is done to it; None: nothing.
            form: Says which change it was.
        """
        full = f"{self.node.owner}.{name}" + (f".{form}" if form else "")
        if full not in self.model.initializers:
            array = self.array(name)
            self.model.initializers[full] = self.model.stored(array if change is None else change(array))
        return full

    def per_channel(self, name: str) -> str:
        """A weight of one value a channel, as it is added to or multiplied with the input: (C, 1, ...)."""
        rank = self.rank
        return self.weight(name, lambda a: a.reshape(-1, *(1,) * (rank - 2)), f"of_{rank}_axes")

    def keep_for_training(self, **fields: Any) -> None:
        """Notes fields that matter in training only, so that a reader of this model finds them."""
        self.training = Kept(self.layer.kind, fields)

    def refuse(self, message: str, *, received: object = None, expected: object = None) -> SpecError:
        """An error of this node, for the exporter to raise.

        Args:
            message: What cannot be written.
            received: What the node has.
            expected: What could be written.
        """
        where = f"node {self.node.name!r} ({self.layer.kind})"
        return SpecError(message, where=where, received=received, expected=expected)

    def finish(self, results: Sequence[str], first: int) -> None:
        """Gives the outputs their names in the graph.

        Args:
            results: What the exporter returned.
            first: The position of the node's first ONNX node.
        """
        from onnx import helper

        wanted = value_names(self.node.name, len(self.output_shapes))
        made = self.model.nodes[first:]
        for result, name in zip(results, wanted, strict=True):
            owner = next((item for item in made if result in item.output), None)
            if owner is None or any(result in item.input for item in made) or list(results).count(result) > 1:
                self.model.nodes.append(helper.make_node("Identity", [result], [name], name=name))
                continue
            owner.output[list(owner.output).index(result)] = name
            owner.name = name
        if self.training is not None:
            keep(self.model.nodes[-1], self.training)

    def _fresh(self, what: str) -> str:
        self._count += 1
        return f"{self.node.name}/{what}{self._count}"
