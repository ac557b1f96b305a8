"""Importers of operators that join values element by element, with ONNX's broadcasting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import OnnxNode, importer
from cnnbench.spec.interchange.onnx_shape import raised
from cnnbench.spec.interchange.onnx_tensor import Array
from cnnbench.spec.layers import Add, ChannelAffine, Layer
from cnnbench.spec.layers.arithmetic import Affine, Power
from cnnbench.spec.layers.merge import Divide, Maximum, Mean, Minimum, Multiply, PowerOf, Select, Subtract

LAYERS: dict[str, Callable[[], Layer]] = {
    "Add": lambda: Add(broadcast=True),
    "Sum": lambda: Add(broadcast=True),
    "Sub": Subtract,
    "Mul": Multiply,
    "Div": Divide,
    "Max": Maximum,
    "Min": Minimum,
    "Mean": Mean,
    "Pow": PowerOf,
    "Where": Select,
}


@importer(*LAYERS)
def merge(node: OnnxNode) -> Value:
    """The operands in one rank, then the layer; a number or an array a channel that the model fixes becomes one map."""
    if len(node.inputs) == 1:
        return node.value(0)
    if node.op == "Div" and node.is_int(0):
        raise node.reject("a division of computed integers is not imported", expected="floating-point numbers")
    return _by_constant(node) or node.add(LAYERS[node.op](), *_operands(node))


def _operands(node: OnnxNode) -> list[Value]:
    """The operands with leading axes of size 1 up to one rank."""
    rank = max(len(node.shape(i)) for i in range(len(node.inputs)))
    operands = []
    for i in range(len(node.inputs)):
        array = node.constant(i)
        if array is not None and array.ndim < rank:
            raised_array = array.reshape((1,) * (rank - array.ndim) + array.shape)
            floats = raised_array if array.dtype.kind == "f" else raised_array.astype(np.float32)
            operands.append(node.parameter(floats, f"operand{i}"))
        else:
            operands.append(raised(node, node.number(i), rank, f"raised{i}"))
    return operands


def _by_constant(node: OnnxNode) -> Value | None:
    """A layer of one input where the other operand is fixed and simple; None where it is not."""
    if len(node.inputs) != 2:
        return None
    position = next((i for i in (1, 0) if node.constant(i) is not None), None)
    array = None if position is None else node.constant(position)
    if position is None or array is None or (array.dtype.kind != "f" and node.op != "Pow"):
        return None
    rank = len(node.shape(1 - position))
    if array.size == 1 and array.ndim <= rank:
        layer = _with_number(node.op, float(array.reshape(())), first=position == 0)
        return None if layer is None else node.add(layer, node.value(1 - position))
    if node.op in ("Add", "Sum", "Mul") and _is_by_channel(array, node.shape(1 - position)):
        numbers = array.reshape(-1)
        ones, zeros = np.ones_like(numbers), np.zeros_like(numbers)
        arrays = {"weight": numbers, "bias": zeros} if node.op == "Mul" else {"weight": ones, "bias": numbers}
        return node.add(ChannelAffine(), node.value(1 - position), arrays=arrays)
    return None


def _is_by_channel(array: Array, shape: tuple[int, ...]) -> bool:
    """Whether an array broadcasts along every axis but the channels'."""
    aligned = (1,) * (len(shape) - array.ndim) + array.shape
    return 2 <= len(shape) <= 5 and aligned == (1, shape[1], *(1,) * (len(shape) - 2))


def _with_number(op: str, number: float, *, first: bool) -> Layer | None:
    if op in ("Add", "Sum"):
        return Affine(shift=number)
    if op == "Mul":
        return Affine(scale=number)
    if op == "Sub":
        return Affine(scale=-1.0, shift=number) if first else Affine(shift=-number)
    if op == "Pow" and not first:
        return Power(exponent=number)
    return None
