"""The state of one ONNX import: what is known of each tensor, and the graph that grows from it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.interchange.onnx_batch import multiple_of_batch, open_shapes_of
from cnnbench.spec.interchange.onnx_constants import as_value
from cnnbench.spec.interchange.onnx_file import OnnxFile
from cnnbench.spec.interchange.onnx_inputs import ModelInputs, initializers, names_read, numpy_dtype
from cnnbench.spec.interchange.onnx_names import FreeNames, fresh_name, graph_name
from cnnbench.spec.interchange.onnx_output import OnnxOutput
from cnnbench.spec.interchange.onnx_tensor import Array, Tensor, known
from cnnbench.spec.layers import Concat, Dropout, Layer, Shape


class Importing:
    """The state of one import: what is known of each tensor, and the graph so far.

    Args:
        file: The model.
        inputs: Its inputs.
        name: What the graph is called; the model's own name where empty.
    """

    def __init__(self, file: OnnxFile, inputs: ModelInputs, name: str) -> None:
        proto = file.model.graph
        self.file = file
        self.inputs = inputs
        self._builder = Builder(graph_name(name or proto.name) or "onnx")
        self._tensors: dict[str, Tensor] = {item: known(array) for item, array in initializers(proto)}
        self._arrays: dict[str, Array] = {}
        self._read: dict[str, str] = {}  # the model's name of each program input
        self._origins: dict[Hashable, str] = {}  # the first layer that uses arrays of an origin
        self._free_names = FreeNames()
        self._reads = names_read(proto)
        self._names = {item: self._free_names.take(graph_name(item) or "input") for item in inputs.items}

    # tensors

    def is_known(self, name: str) -> bool:
        """Whether an initialiser or a node has defined the tensor."""
        return name in self._tensors

    def is_read(self, name: str) -> bool:
        """Whether a node reads the tensor, or it is an output of the model."""
        return name in self._reads

    def define(self, name: str, tensor: Tensor) -> None:
        """Says what is known of a tensor that a node computes."""
        self._tensors[name] = tensor

    def constant(self, name: str, array: Array) -> str:
        """Holds an array under a name that no tensor has, which is returned. Args: name: as it would be; array: it."""
        free = fresh_name(f"{name} ", self._tensors)  # no exporter ends a name with a space
        self.define(free, known(array))
        return free

    def tensor(self, name: str) -> Tensor | None:
        """What is known of a tensor; None for an input of the model that nothing has made a program input yet."""
        if name in self._tensors:
            return self._tensors[name]
        if name in self.inputs.items:
            return None
        raise SpecError(
            f"no earlier node computes {name!r}", expected="nodes in an order in which each can be computed"
        )

    def shape(self, name: str) -> Shape:
        """The shape of a tensor; its sizes may depend on the batch."""
        tensor = self.tensor(name)
        return self.inputs.shape(name) if tensor is None else tensor.shape

    def kind(self, name: str) -> str:
        """``f`` for a tensor of floats, ``i`` of integers, ``b`` of booleans."""
        tensor = self.tensor(name)
        if tensor is not None:
            return tensor.kind
        if self.inputs.is_int(name):
            return "i"
        return "b" if self.inputs.dtype(name).kind == "b" else "f"

    def is_given(self, name: str) -> bool:
        """Whether a tensor is a free input whose data is given."""
        return name in self.inputs.items and name in self.inputs.given

    def bound(self, name: str) -> Array | None:
        """The data given for a free input, which becomes part of the network; None where there is none."""
        return np.asarray(self.inputs.given[name]) if self.is_given(name) else None

    def value(self, name: str, reader: str, where: str, *, as_float: bool = False) -> Value:
        """The graph's value of a tensor; makes a program input or a layer that holds an array where it has none.

        Args:
            name: The tensor's.
            reader: The name of the node that reads it.
            where: What messages call that node.
            as_float: Whether integers and booleans that are known or free are to become floats.
        """
        tensor = self.tensor(name)
        if tensor is None:
            return self._program_input(name, as_float=as_float)
        if tensor.rows:
            raise SpecError(f"{name!r} has as many rows as its values decide", expected="a size that is known")
        if tensor.value is not None:
            return tensor.value
        called = graph_name(name) or f"{reader}_constant"

        def add(layer: Layer, *values: Value, part: str = "", arrays: Mapping[str, Array] | None = None) -> Value:
            return self.add(f"{called}_{part}" if part else called, layer, values, arrays or {}, where)[0]

        value = as_value(tensor, add, self.batch_value, as_float=as_float)
        if tensor.kind == "f":
            self._tensors[name] = replace(tensor, value=value)
        return value

    def batch_value(self) -> Value:
        """A program input whose first axis is the batch."""
        for name in self.inputs.items:
            if self.inputs.is_batched(name):
                tensor = self._tensors.get(name)
                return self._program_input(name) if tensor is None or tensor.value is None else tensor.value
        raise SpecError("no input of the model has a batch axis")

    def _program_input(self, name: str, *, as_float: bool = False) -> Value:
        kind = self.inputs.dtype(name).kind
        if kind not in "fiubV":
            raise SpecError(f"input {name!r} holds no numbers", where=self.file.where, received=self.inputs.dtype(name))
        full, batched = self.inputs.shape(name), self.inputs.is_batched(name)
        is_int = self.inputs.is_int(name) and not as_float  # booleans as 0 and 1
        value = self._builder.input(
            self._names[name],
            full[1:] if batched else full,
            dtype="int" if is_int else "float",
            batched=batched,
        )
        value = replace(value, shape=full)
        self._read[value.name] = name
        self._tensors[name] = Tensor(value=value, truth=kind == "b")
        return value

    # the graph

    def add(
        self,
        name: str,
        layer: Layer,
        values: Sequence[Value],
        arrays: Mapping[str, Array],
        where: str,
        origin: Hashable | None = None,
    ) -> tuple[Value, ...]:
        """Adds a layer under a name that is free, with its arrays.

        Args:
            name: What it would be called.
            layer: The layer.
            values: What it reads.
            arrays: Its weights and running statistics by name.
            where: What messages call the node.
            origin: Of its arrays: an equal layer of the same origin shares them. None: they are its own.
        """
        composite = layer.is_composite
        full = self._free_names.take(name, scope=composite)
        shapes = tuple(value.shape for value in values)
        key = (origin, layer, shapes if composite else (), tuple((item, a.shape) for item, a in arrays.items()))
        owner = None if origin is None or not arrays else self._origins.setdefault(key, full)
        shared = None if owner == full else owner
        try:
            open_shapes = open_shapes_of(layer, shapes)
            results = self._builder.add_all(full, layer, *(value.name for value in values), weights_of=shared)
        except SpecError as error:
            raise error.at(where) from None
        if shared is None:
            self._arrays.update({f"{full}.{item}": _float(array) for item, array in arrays.items()})
        if open_shapes is None:
            return results
        return tuple(replace(result, shape=shape) for result, shape in zip(results, open_shapes, strict=True))

    def finish(self) -> tuple[Graph | None, dict[str, Array], dict[str, str], tuple[OnnxOutput, ...]]:
        """The graph, its arrays, the model's name of each program input, and the model's outputs."""
        outputs: list[OnnxOutput] = []
        named: dict[str, Value] = {}
        for item in self.file.model.graph.output:
            tensor = self.tensor(item.name)
            dtype = numpy_dtype(item.type.tensor_type.elem_type)
            if tensor is not None and tensor.array is not None:
                outputs.append(OnnxOutput(item.name, dtype, array=tensor.array, truth=tensor.truth))
                continue
            value = tensor.value if tensor is not None and tensor.rows else None
            value = value or self.value(item.name, "output", f"{self.file.where}: output {item.name!r}")
            ours = fresh_name(graph_name(item.name) or "output", named)
            named[ours] = value
            tensor = self._tensors[item.name]
            outputs.append(OnnxOutput(item.name, dtype, ours, truth=tensor.truth, rows=tensor.rows))
        self._require_batches(named)
        graph = self._graph(named) if named else None
        return graph, self._arrays, self._read, tuple(outputs)

    def _require_batches(self, named: Mapping[str, Value]) -> None:
        """A model that fixes its batch is read as one of an open batch only if every output has one row an image."""
        if self.inputs.stated_batch is None or not any(map(self.inputs.is_batched, self.inputs.items)):
            return
        for name, value in named.items():
            if not value.shape or multiple_of_batch(value.shape[0]) is None:
                raise SpecError(f"output {name!r} does not begin with the batch", received=value.shape)

    def _graph(self, named: dict[str, Value]) -> Graph:
        """The graph of the named outputs. One without nodes gets a node that changes nothing: programs need one."""
        if not self._read:
            self._builder.input(self._free_names.take("unused"), (1,), batched=False)
        graph = self._builder.build(named)
        if not graph.nodes:
            first = next(iter(named))
            value = named[first]
            layer: Layer = Dropout(p=0.0) if value.dtype == "float" else Concat(axis=0)
            named[first] = self._builder.add(self._free_names.take("identity"), layer, value.name)
            graph = self._builder.build(named)
        order = list(self._names.values())  # the model's, whichever node reads them first
        if len(graph.inputs) > 1:
            graph = replace(graph, inputs=tuple(sorted(graph.inputs, key=lambda item: order.index(item.name))))
        return graph


def _float(array: Array) -> Array:
    """A weight in float32, or in float64 where the model holds that."""
    return array if array.dtype == np.float64 else array.astype(np.float32, copy=False)
