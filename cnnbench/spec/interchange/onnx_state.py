"""The state of one ONNX import: what is known of each tensor, and the graph that grows from it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.interchange.onnx_file import OnnxFile
from cnnbench.spec.interchange.onnx_names import fresh_name, graph_name
from cnnbench.spec.interchange.onnx_output import OnnxOutput
from cnnbench.spec.interchange.onnx_tensor import Array, Tensor, known
from cnnbench.spec.layers import Concat, Dropout, Layer, Shape
from cnnbench.spec.layers.arithmetic import Parameter


class Importing:
    """The state of one import: what is known of each tensor, and the graph so far."""

    def __init__(self, file: OnnxFile, given: Mapping[str, Array], *, batched: bool, image: Shape, name: str) -> None:
        from onnx import numpy_helper

        self.file = file
        self.batched = batched
        self.training = False
        proto = file.model.graph
        self._builder = Builder(graph_name(name or proto.name) or "onnx")
        self._given = given
        self._image = image
        self._tensors: dict[str, Tensor] = {item.name: known(numpy_helper.to_array(item)) for item in proto.initializer}
        self._free = {item.name: item for item in proto.input if item.name not in self._tensors}
        self._arrays: dict[str, Array] = {}
        self._inputs: dict[str, str] = {}
        self._origins: dict[Hashable, str] = {}  # the first layer that uses arrays of an origin
        self._taken: set[str] = set()
        self._scopes: set[str] = set()
        if batched:  # in the model's order, whichever node reads them first
            for item in self._free:
                self._program_input(item)

    # tensors

    def is_known(self, name: str) -> bool:
        """Whether an initialiser or a node has defined the tensor."""
        return name in self._tensors

    def define(self, name: str, tensor: Tensor) -> None:
        """Says what is known of a tensor that a node computes."""
        self._tensors[name] = tensor

    def tensor(self, name: str) -> Tensor | None:
        """What is known of a tensor; None for an input of the model that nothing has made a program input yet."""
        if name in self._tensors:
            return self._tensors[name]
        if name in self._free:
            return None
        raise SpecError(f"no node computes {name!r}", where=self.file.where, remedy="sort the model's nodes")

    def pending_shape(self, name: str) -> Shape:
        """The shape of a free input."""
        if name in self._given:
            return tuple(self._given[name].shape)
        return self._declared_shape(name)

    def is_int(self, name: str) -> bool:
        """Whether a tensor holds integers or booleans."""
        tensor = self.tensor(name)
        if tensor is None:
            return self._declared_dtype(name).kind in "iub"
        if tensor.array is not None:
            return tensor.array.dtype.kind in "iub"
        return tensor.truth or (tensor.value is not None and tensor.value.dtype == "int")

    def is_truth(self, name: str) -> bool:
        """Whether a tensor holds booleans."""
        tensor = self.tensor(name)
        if tensor is None:
            return self._declared_dtype(name).kind == "b"
        return tensor.truth or (tensor.array is not None and tensor.array.dtype.kind == "b")

    def is_given(self, name: str) -> bool:
        """Whether a tensor is a free input whose data is given."""
        return name in self._free and name in self._given

    def bound(self, name: str) -> Array | None:
        """The data given for a free input, which becomes part of the network; None where there is none."""
        return np.asarray(self._given[name]) if self.is_given(name) else None

    def value(self, name: str, reader: str, where: str, *, as_float: bool = False) -> Value:
        """The graph's value of a tensor; makes a program input or a layer that holds an array where it has none.

        Args:
            name: The tensor's.
            reader: The name of the node that reads it.
            where: What messages call that node.
            as_float: Whether an input of integers that becomes a program input is to be one of floats.
        """
        tensor = self.tensor(name)
        if tensor is None:
            return self._program_input(name, as_float=as_float)
        if tensor.rows:
            raise SpecError(
                f"{name!r} has as many rows as its values decide", where=where, expected="a size that is known"
            )
        if tensor.value is None:
            if tensor.array is None:
                raise SpecError(f"{name!r} is a running statistic, which no layer can read", where=where)
            value = self.parameter(graph_name(name) or f"{reader}_constant", tensor.array, where)
            self._tensors[name] = tensor = Tensor(array=tensor.array, value=value, truth=tensor.truth)
        if tensor.value is None:
            raise SpecError(f"{name!r} has no value", where=where)
        return tensor.value

    def _program_input(self, name: str, *, as_float: bool = False) -> Value:
        kind = self._declared_dtype(name).kind
        if kind not in "fiub":
            raise SpecError(f"input {name!r} holds no numbers", where=self.file.where, received=kind)
        full = self.pending_shape(name)
        dtype: Literal["float", "int"] = "float" if as_float or kind in "fb" else "int"  # booleans as 0 and 1
        batched = self.batched and len(full) > 1
        ours = self._unique(graph_name(name) or "input")
        value = self._builder.input(ours, full[1:] if batched else full, dtype=dtype, batched=batched)
        self._inputs[ours] = name
        self._tensors[name] = Tensor(value=value, truth=kind == "b")
        return value

    def _declared_dtype(self, name: str) -> np.dtype[Any]:
        return _dtype(self._free[name].type.tensor_type.elem_type)

    def _declared_shape(self, name: str) -> Shape:
        declared = self._free[name].type.tensor_type
        sizes = [item.dim_value if item.HasField("dim_value") else None for item in declared.shape.dim]
        if self.batched and self._image and name == next(iter(self._free)):
            own = sizes[1:]
            if len(own) != len(self._image) or any(s not in (None, i) for s, i in zip(own, self._image, strict=True)):
                raise SpecError(
                    "the model states its own image shape", where=self.file.where, received=self._image, expected=own
                )
            sizes = [1, *self._image]
        if self.batched and sizes:
            sizes[0] = 1
        if any(size is None for size in sizes) or not declared.HasField("shape"):
            shown = [item.dim_value or item.dim_param or "?" for item in declared.shape.dim]
            raise SpecError(
                f"the shape of input {name!r} is open",
                where=self.file.where,
                received=shown,
                remedy="state the image shape (--image CxHxW), or export the model with fixed sizes",
            )
        return tuple(int(size) for size in sizes if size is not None)

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
        full = self._unique(name, scope=composite)
        shapes = tuple(value.shape for value in values) if composite else ()
        key = (origin, layer, shapes, tuple((item, array.shape) for item, array in arrays.items()))
        owner = None if origin is None or not arrays else self._origins.setdefault(key, full)
        shared = None if owner == full else owner
        try:
            results = self._builder.add_all(full, layer, *values, weights_of=shared)
        except SpecError as error:
            raise error.at(where) from None
        if shared is None:
            self._arrays.update({f"{full}.{item}": _float(array) for item, array in arrays.items()})
        return results

    def parameter(self, name: str, array: Array, where: str) -> Value:
        """A layer that holds an array. Args: name: what it would be called; array: of floats; where: for messages."""
        if array.dtype.kind != "f":
            raise SpecError(
                "a constant of integers or booleans is read as a value",
                where=where,
                received=f"{array.dtype} {array.shape}",
                expected="floating-point numbers",
            )
        return self.add(name, Parameter(shape=array.shape), (), {"value": array}, where)[0]

    def _unique(self, name: str, *, scope: bool = False) -> str:
        """``name``, changed as little as makes it free and keeps it out of composites' scopes."""
        parts = name.split(".")
        if any(".".join(parts[:count]) in self._scopes for count in range(1, len(parts))):
            name = name.replace(".", "_")
        base, count = name, 1
        while name in self._taken or (scope and any(item.startswith(f"{name}.") for item in self._taken)):
            count += 1
            name = f"{base}_{count}"
        self._taken.add(name)
        if scope:
            self._scopes.add(name)
        return name

    def finish(self) -> tuple[Graph | None, dict[str, Array], dict[str, str], tuple[OnnxOutput, ...]]:
        """The graph, its arrays, the model's name of each program input, and the model's outputs."""
        outputs: list[OnnxOutput] = []
        named: dict[str, Value] = {}
        for item in self.file.model.graph.output:
            tensor = self.tensor(item.name)
            if tensor is None:
                self._program_input(item.name)
                tensor = self._tensors[item.name]
            dtype = _dtype(item.type.tensor_type.elem_type)
            if tensor.state:
                outputs.append(OnnxOutput(item.name, dtype, tensor.state, is_state=True))
            elif tensor.array is not None:
                outputs.append(OnnxOutput(item.name, dtype, array=tensor.array, truth=tensor.truth))
            elif tensor.value is not None:
                ours = fresh_name(graph_name(item.name) or "output", named)
                named[ours] = tensor.value
                outputs.append(OnnxOutput(item.name, dtype, ours, truth=tensor.truth, rows=tensor.rows))
        graph = self._graph(named) if named else None
        return graph, self._arrays, self._inputs, tuple(outputs)

    def _graph(self, named: dict[str, Value]) -> Graph:
        """The graph of the named outputs. One without nodes gets a node that changes nothing: programs need one."""
        if not self._inputs:
            self._builder.input(self._unique("unused"), (1,), batched=False)
        graph = self._builder.build(named)
        if graph.nodes:
            return graph
        first = next(iter(named))
        value = named[first]
        layer: Layer = Dropout(p=0.0) if value.dtype == "float" else Concat(axis=0)
        named[first] = self._builder.add(self._unique("identity"), layer, value)
        return self._builder.build(named)


def _dtype(element: int) -> np.dtype[Any]:
    from onnx import helper

    dtype: np.dtype[Any] = helper.tensor_dtype_to_np_dtype(element)
    return dtype


def _float(array: Array) -> Array:
    """A weight in float32, or in float64 where the model holds that."""
    return array if array.dtype == np.float64 else array.astype(np.float32, copy=False)
