"""Builds a graph node by node and validates each as it comes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from cnnbench.errors import SpecError, did_you_mean
from cnnbench.spec.fields import checked
from cnnbench.spec.graph.batch_axis import refuse_batch
from cnnbench.spec.graph.model import Graph, Input, Node
from cnnbench.spec.graph.names import producer, value_names
from cnnbench.spec.graph.reading import output_dtypes, require_inputs
from cnnbench.spec.graph.sharing import Holders
from cnnbench.spec.layers import Dtype, Layer, Shape

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]*(\.[A-Za-z0-9_][A-Za-z0-9_\-]*)*")


@dataclass(frozen=True)
class Value:
    """A handle of a value in a graph that is being built: its name, its shape (with the batch axis of 1), its dtype."""

    name: str
    shape: Shape
    dtype: Dtype = "float"

    @property
    def channels(self) -> int:
        """The size of axis 1."""
        return self.shape[1]


class Builder:
    """Builds a graph node by node, checking each as it comes.

    >>> from cnnbench.spec.layers import Conv, ReLU
    >>> b = Builder("tiny")
    >>> x = b.input("image", (3, 8, 8))
    >>> with b.scope("stem"):
    ...     x = b.add("conv", Conv(out_channels=4, kernel_size=3, padding=1), x)
    >>> b.build(b.add("relu", ReLU(), x)).shapes()["stem.conv"]
    (1, 4, 8, 8)

    Args:
        name: What the graph is called.
        part: Whether the graph may be a part of a network, in which a node uses the weights of one that was left out.
    """

    def __init__(self, name: str, *, part: bool = False) -> None:
        self.name = name
        self._holders = Holders(part=part)
        self._inputs: list[Input] = []
        self._nodes: list[Node] = []
        self._shapes: dict[str, Shape] = {}
        self._dtypes: dict[str, Dtype] = {}
        self._scopes: list[str] = []

    @contextmanager
    def scope(self, prefix: str) -> Iterator[None]:
        """Within it, node names start with ``prefix.``."""
        self._scopes.append(prefix)
        try:
            yield
        finally:
            self._scopes.pop()

    def input(
        self, name: str, shape: Sequence[int], *, dtype: Literal["float", "int"] = "float", batched: bool = True
    ) -> Value:
        """Declares a program input of one image's shape (C, *spatial).

        Args:
            name: What the input is called.
            shape: Of one image, without the batch axis; of the whole input where ``batched`` is false.
            dtype: ``int`` for indices.
            batched: Whether a batch axis comes first.
        """
        self._check_new(name)
        if any(isinstance(size, bool) or not isinstance(size, int) or size < 0 for size in shape):
            raise SpecError("the shape is not valid", where=f"input {name!r}", received=list(shape))
        item = Input(name, tuple(shape), dtype, batched)
        self._inputs.append(item)
        self._shapes[name] = item.full_shape(1)
        self._dtypes[name] = dtype
        return self.value(name)

    def add(self, name: str, layer: Layer, *inputs: Value | str, weights_of: str | None = None) -> Value:
        """Adds a node and returns its first output.

        Args:
            name: Its name within the scopes around.
            layer: What it computes.
            inputs: What it reads: values, or their full names.
            weights_of: The full name of an earlier node whose weights and running statistics it uses: one module
                applied at several places. Its layer must be equal but for its padding, its weights of the same shapes.

        Raises:
            SpecError: A name, field, shape or ``weights_of`` that is not valid, with the node.
        """
        return self.add_all(name, layer, *inputs, weights_of=weights_of)[0]

    def add_all(
        self, name: str, layer: Layer, *inputs: Value | str, weights_of: str | None = None
    ) -> tuple[Value, ...]:
        """As ``add``, but returns every output.

        Args:
            name: Its name within the scopes around.
            layer: What it computes.
            inputs: What it reads.
            weights_of: As in ``add``.
        """
        full = ".".join([*self._scopes, name])
        self._check_new(full)
        values = tuple(item if isinstance(item, Value) else self.value(item) for item in inputs)
        shapes = tuple(value.shape for value in values)
        where = f"{self.name}: node {full!r} ({layer.kind})"
        least, most = layer.num_inputs
        if len(values) < least or (most is not None and len(values) > most):
            limit = f"{least}" if least == most else f"{least} to {most}" if most else f"{least} or more"
            raise SpecError("the number of inputs is wrong", where=where, received=len(values), expected=limit)
        try:
            resolved = checked(layer).resolve(shapes)
            results = resolved.output_shapes(shapes)
            refuse_batch(resolved, shapes)
            dtypes = output_dtypes(resolved, tuple(value.dtype for value in values), len(results))
            owner = self._holders.owner(weights_of)
            node = Node(full, resolved, tuple(value.name for value in values), owner)
            self._holders.add(node, shapes)
        except SpecError as error:
            raise error.at(where) from None
        self._nodes.append(node)
        names = value_names(full, len(results))
        self._shapes.update(zip(names, results, strict=True))
        self._dtypes.update(zip(names, dtypes, strict=True))
        return tuple(Value(n, s, d) for n, s, d in zip(names, results, dtypes, strict=True))

    def stack(self, prefix: str, layers: Sequence[Layer], x: Value) -> Value:
        """Adds layers one after the other as ``prefix.0``, ``prefix.1`` ..., and returns the last output.

        Args:
            prefix: The scope of the new nodes.
            layers: In their order, each with one input and one output.
            x: What the first reads.
        """
        with self.scope(prefix):
            for number, layer in enumerate(layers):
                x = self.add(str(number), layer, x)
        return x

    def embed(
        self, prefix: str, graph: Graph, inputs: Mapping[str, Value], *, weights_of: str | None = None
    ) -> dict[str, Value]:
        """Puts a network's nodes in under ``prefix.``, and returns its outputs by their names.

        A network that is put in twice with the same weights is one module applied twice: batch statistics are those of
        each application, and its running statistics move with each of them, in the order in which they were put in.

        Args:
            prefix: The scope of its nodes.
            graph: The network.
            inputs: What it reads, by the names of its inputs.
            weights_of: The full prefix under which the network was put in before, whose weights and running statistics
                this one uses.

        Raises:
            SpecError: An input is missing or has another shape; a name is taken.
        """
        require_inputs(graph, {name: value.shape for name, value in inputs.items()}, f"{self.name}: {prefix!r}")
        values = dict(inputs)
        with self.scope(prefix):
            holder = weights_of or ".".join(self._scopes)
            for node in graph.nodes:
                shapes = graph.input_shapes(node)
                is_user = weights_of is not None or node.weights_of is not None
                has_arrays = bool(node.layer.weights(shapes) or node.layer.state(shapes))
                owner = f"{holder}.{node.owner}" if is_user and has_arrays else None
                read = [values[name] for name in node.inputs]
                results = self.add_all(node.name, node.layer, *read, weights_of=owner)
                values.update(zip(value_names(node.name, len(results)), results, strict=True))
        return {name: values[value] for name, value in graph.outputs}

    def value(self, name: str) -> Value:
        """The handle of a value by its name; raises SpecError with the nearest name where there is none."""
        if name not in self._shapes:
            raise SpecError(
                f"{self.name} has no value {name!r} so far",
                remedy=did_you_mean(name, self._shapes) if self._shapes else "declare an input first",
            )
        return Value(name, self._shapes[name], self._dtypes[name])

    def build(self, outputs: Value | Sequence[Value] | Mapping[str, Value]) -> Graph:
        """The finished graph.

        Args:
            outputs: One value (named ``output``), several (``output0`` ...), or named ones, the main one first.
        """
        if isinstance(outputs, Value):
            named = {"output": outputs}
        elif isinstance(outputs, Mapping):
            named = dict(outputs)
        else:
            named = {f"output{i}": value for i, value in enumerate(outputs)}
        if not named:
            raise SpecError("a graph needs an input and an output", where=self.name)
        for name in named:
            self._check_name(producer(name))
        self._check_composites()
        self._holders.check()
        return Graph(
            self.name,
            tuple(self._inputs),
            tuple(self._nodes),
            tuple((name, self.value(value.name).name) for name, value in named.items()),
        )

    def _check_composites(self) -> None:
        """A composite's name is the scope of its parts, whose weights and values must stay apart from others'."""
        scopes = {node.name for node in self._nodes if node.layer.is_composite}
        if not scopes:
            return
        for node in self._nodes:
            parts = node.name.split(".")
            for count in range(1, len(parts)):
                outer = ".".join(parts[:count])
                if outer in scopes:
                    raise SpecError(f"the name {node.name!r} lies within the layer {outer!r}", where=self.name)

    def _check_new(self, name: str) -> None:
        self._check_name(name)
        if name in self._shapes:
            raise SpecError(f"the name {name!r} is used twice", where=self.name)

    def _check_name(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise SpecError(
                "the name is not valid",
                where=self.name,
                received=repr(name),
                expected="letters, digits, '_' and '-', in parts joined by dots",
            )
