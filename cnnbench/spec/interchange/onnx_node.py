"""What an importer sees of one ONNX node: its attributes, its inputs as values or as known arrays, and ``add``.

An importer is a function of an ``OnnxNode`` registered for an operator: ``@importer("Conv")``. It returns one result
for each output: a ``Value`` that a layer computes, a NumPy array where the output is known already, or a ``Tensor``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_batch import shape_of, shapes_in
from cnnbench.spec.interchange.onnx_constants import hold, over_batch
from cnnbench.spec.interchange.onnx_state import Importing
from cnnbench.spec.interchange.onnx_tensor import Array, Tensor, known_by_batch
from cnnbench.spec.interchange.onnx_versions import DEFAULT_DOMAIN, version_at
from cnnbench.spec.layers import Layer, Shape

Result = Value | Tensor | Array | None
Handler = Callable[["OnnxNode"], Result | Sequence[Result]]

IMPORTERS: dict[tuple[str, str], Handler] = {}
SINCE: dict[tuple[str, str], int] = {}  # the oldest version of the operator that its importer reads, where not all


def importer(*operators: str, domain: str = "", since: int = 1) -> Callable[[Handler], Handler]:
    """A decorator that makes a function the importer of some operators, in every version from ``since`` on.

    Args:
        operators: Their names.
        domain: Theirs; "" is ONNX's own.
        since: The oldest version that is read. Where versions differ, the importer asks ``OnnxNode.version``, or
            ``onnx_older`` puts the older form into the newer one before.
    """

    def decorate(function: Handler) -> Handler:
        for operator in operators:
            IMPORTERS[domain, operator] = function
            SINCE[domain, operator] = since
        return function

    return decorate


def known_importers() -> dict[str, Handler]:
    """The importer of each operator, those of other domains with their domain, in alphabetical order."""
    named = {f"{domain}.{op}" if domain else op: handler for (domain, op), handler in IMPORTERS.items()}
    return dict(sorted(named.items()))


class OnnxNode:
    """One node of the model while it is imported.

    Args:
        proto: The ``onnx.NodeProto``.
        importing: The import that it belongs to.
        name: What its layers are called.
        where: What messages call it.
        opset: The version of its domain's operator set.
    """

    def __init__(self, proto: Any, importing: Importing, name: str, where: str, opset: int) -> None:
        from onnx import helper

        self.proto = proto
        self.op: str = proto.op_type
        self.domain = "" if proto.domain in DEFAULT_DOMAIN else proto.domain
        self.name = name
        self.inputs: tuple[str, ...] = tuple(proto.input)
        self.outputs: tuple[str, ...] = tuple(proto.output)
        self.opset = opset
        self.version = version_at(self.op, self.domain, opset) or opset
        self.stated_batch = importing.inputs.stated_batch
        self._importing = importing
        self._attributes = {item.name: helper.get_attribute_value(item) for item in proto.attribute}
        self._serialized = tuple(sorted(item.SerializeToString() for item in proto.attribute))
        self.where = where

    # attributes

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute: strings decoded, lists as tuples, tensors as arrays."""
        from onnx import TensorProto, numpy_helper

        value = self._attributes.get(name, default)
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, TensorProto):
            return numpy_helper.to_array(value)
        if isinstance(value, Sequence) and not isinstance(value, str):
            return tuple(item.decode() if isinstance(item, bytes) else item for item in value)
        return value

    def reject(self, message: str, *, received: object = None, expected: object = None) -> SpecError:
        """An error of this node, for the importer to raise.

        Args:
            message: What is wrong.
            received: What the node has.
            expected: What would be imported.
        """
        return SpecError(message, where=self.where, received=received, expected=expected)

    # inputs

    def has(self, position: int) -> bool:
        """Whether the input is given."""
        return position < len(self.inputs) and self.inputs[position] != ""

    def is_read(self, output: int) -> bool:
        """Whether the model reads an output."""
        return output < len(self.outputs) and self._importing.is_read(self.outputs[output])

    def shape(self, position: int = 0) -> Shape:
        """The shape of an input; its sizes may depend on the batch."""
        return self._importing.shape(self.inputs[position])

    def is_int(self, position: int = 0) -> bool:
        """Whether an input holds integers or booleans."""
        return self._importing.kind(self.inputs[position]) != "f"

    def is_truth(self, position: int = 0) -> bool:
        """Whether an input holds booleans."""
        return self._importing.kind(self.inputs[position]) == "b"

    def value(self, position: int = 0) -> Value:
        """The value of an input; a known array becomes a layer that holds it, a free input a program input."""
        return self._importing.value(self.inputs[position], self.name, self.where)

    def number(self, position: int) -> Value:
        """As ``value``, but known or free integers and booleans become floats, for a layer that computes with them."""
        return self._importing.value(self.inputs[position], self.name, self.where, as_float=True)

    def values(self) -> tuple[Value, ...]:
        """The values of all inputs that are given."""
        return tuple(self.value(i) for i in range(len(self.inputs)) if self.has(i))

    def tensor(self, position: int) -> Tensor | None:
        """What is known of an input; None where it is not given, or free and nothing has read it yet."""
        return self._importing.tensor(self.inputs[position]) if self.has(position) else None

    def constant(self, position: int) -> Array | None:
        """The array of an input that the model itself fixes, else None."""
        tensor = self.tensor(position)
        return None if tensor is None else tensor.array

    def static(self, position: int, what: str) -> Array:
        """The array of an input that must be known: a constant, or the data given for a free input.

        Raises:
            SpecError: It is computed, or free and no data is given.
        """
        array = self.constant(position)
        if array is None:
            array = self._importing.bound(self.inputs[position])
        tensor = self.tensor(position)
        if array is None and tensor is not None and tensor.by_batch is not None:
            raise self.reject(
                f"{what} depends on the batch size", received=tensor.by_batch[0], expected="fixed numbers"
            )
        if array is None:
            raise self.reject(
                f"{what} is not known when the model is imported",
                received=f"{self.inputs[position]!r}, which is computed or an input of the model",
                expected="an initialiser, a constant, or an input whose data is given",
            )
        return array

    def knowable(self, position: int) -> bool:
        """Whether ``static`` has an array for the input."""
        if not self.has(position):
            return False
        return self.constant(position) is not None or self._importing.is_given(self.inputs[position])

    def ints(self, position: int, what: str) -> tuple[int, ...]:
        """A static input as integers, which may depend on the batch."""
        tensor = self.tensor(position)
        if tensor is not None and tensor.by_batch is not None:
            return shape_of([tuple(int(item) for item in array.reshape(-1)) for array in tensor.by_batch])
        return tuple(int(item) for item in self.static(position, what).reshape(-1))

    def scalar(self, position: int, what: str, default: float = 0.0) -> float:
        """A static input of one element as a float, ``default`` where it is not given.

        Args:
            position: Which input, from 0.
            what: What the error calls it.
            default: The value where it is left out.
        """
        if not self.has(position):
            return default
        array = self.static(position, what)
        if array.size != 1:
            raise self.reject(f"{what} is not one number", received=array.shape, expected="a single element")
        return float(array.reshape(-1)[0])

    # layers

    def add(self, layer: Layer, *values: Value, part: str = "", arrays: Mapping[str, Array] | None = None) -> Value:
        """Adds a layer and returns its first output.

        Args:
            layer: The layer.
            values: What it reads.
            part: Its name within the node where the node becomes several layers; "" for the main one.
            arrays: Its weights and running statistics by name.
        """
        return self.add_all(layer, *values, part=part, arrays=arrays)[0]

    def add_all(
        self, layer: Layer, *values: Value, part: str = "", arrays: Mapping[str, Array] | None = None
    ) -> tuple[Value, ...]:
        """As ``add``, but returns every output.

        Args:
            layer: The layer.
            values: What it reads.
            part: As in ``add``.
            arrays: Its weights and running statistics by name.
        """
        name = f"{self.name}_{part}" if part else self.name
        return self._importing.add(name, layer, values, arrays or {}, self.where, self._origin(part))

    def _origin(self, part: str) -> Hashable | None:
        """From what a layer's arrays are made: nodes in which it is equal use the same initialisers in the same way.

        None where no initialiser is involved.
        """
        arrays = [self.static(i, "") if self.knowable(i) else None for i in range(len(self.inputs))]
        if not any(array is not None and array.dtype.kind == "f" for array in arrays):
            return None
        views = [None if a is None else (a.ctypes.data, a.dtype.str, a.shape, a.strides) for a in arrays]
        return (self.op, self._serialized, part, tuple(views))

    def parameter(self, array: Array, part: str, *, trainable: bool = True) -> Value:
        """A value that holds an array of floats: a layer of its own. Args: as of ``hold``."""
        return hold(self.add, np.asarray(array), part, trainable=trainable)

    def over_batch(self, x: Value, axis: int) -> Value:
        """``x``, a value without a batch, repeated along an axis as often as there are images."""
        return over_batch(self.add, x, axis, self._importing.batch_value())

    def filled(self, shape: Shape, number: Any, dtype: Any) -> Tensor:
        """A tensor that holds one number everywhere.

        Args:
            shape: Its shape, whose sizes may depend on the batch.
            number: What it holds.
            dtype: NumPy's.
        """
        return known_by_batch([np.broadcast_to(np.asarray(number, dtype), sizes) for sizes in shapes_in(shape)])


def truth(result: Value | Array) -> Tensor:
    """A result that stands for booleans."""
    return Tensor(array=result, truth=True) if isinstance(result, np.ndarray) else Tensor(value=result, truth=True)
