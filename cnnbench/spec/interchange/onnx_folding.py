"""Arithmetic of shapes: operators computed with NumPy while a model is imported, where their operands are constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from cnnbench.spec.interchange.onnx_node import OnnxNode
from cnnbench.spec.interchange.onnx_tensor import Array

Folder = Callable[[OnnxNode, list[Any]], Array | list[Array]]

FOLDERS: dict[str, Folder] = {}


def fold(node: OnnxNode) -> list[Array] | None:
    """The node's outputs where they are known; None where a layer must compute them.

    Only what the model fixes counts as known: data given for its inputs does not, so that whatever depends on it is
    computed by the backend. Shapes are known even where the elements are not.
    """
    if node.op in ("Shape", "Size") and node.has(0):
        return [_shape(node)]
    if node.op not in FOLDERS or any(node.has(i) and node.constant(i) is None for i in range(len(node.inputs))):
        return None
    arrays = [node.constant(i) for i in range(len(node.inputs))]
    result = FOLDERS[node.op](node, arrays)
    return result if isinstance(result, list) else [np.asarray(result)]


def folder(*operators: str) -> Callable[[Folder], Folder]:
    """A decorator that registers how operators of constants are computed."""

    def decorate(function: Folder) -> Folder:
        for operator in operators:
            FOLDERS[operator] = function
        return function

    return decorate


def _shape(node: OnnxNode) -> Array:
    shape = node.shape(0)
    if node.op == "Size":
        return np.asarray(np.prod(shape, dtype=np.int64))
    rank = len(shape)
    start, end = (_clamped(node.attribute(name, default), rank) for name, default in (("start", 0), ("end", rank)))
    return np.asarray(shape[start:end], np.int64)


def _clamped(position: int, rank: int) -> int:
    return min(max(position + rank if position < 0 else position, 0), rank)


@folder("Constant")
def _constant(node: OnnxNode, arrays: list[Any]) -> Array:
    for name, dtype in (
        ("value", None),
        ("value_float", np.float32),
        ("value_int", np.int64),
        ("value_floats", np.float32),
        ("value_ints", np.int64),
    ):
        value = node.attribute(name)
        if value is not None:
            return np.asarray(value, dtype)
    raise node.reject("a constant of this form is not imported", expected="a tensor, numbers or a number")


@folder("ConstantOfShape")
def _constant_of_shape(node: OnnxNode, arrays: list[Any]) -> Array:
    value = node.attribute("value", np.zeros(1, np.float32))
    return np.full(tuple(int(size) for size in arrays[0]), value.reshape(-1)[0], value.dtype)


@folder("Cast")
def _cast(node: OnnxNode, arrays: list[Any]) -> Array:
    from onnx import helper

    return np.asarray(arrays[0]).astype(helper.tensor_dtype_to_np_dtype(node.attribute("to")))


@folder("Identity", "CastLike")
def _identity(node: OnnxNode, arrays: list[Any]) -> Array:
    return np.asarray(arrays[0]) if len(arrays) == 1 else np.asarray(arrays[0]).astype(arrays[1].dtype)


@folder("Concat")
def _concat(node: OnnxNode, arrays: list[Any]) -> Array:
    return np.concatenate(arrays, axis=node.attribute("axis"))


@folder("Gather")
def _gather(node: OnnxNode, arrays: list[Any]) -> Array:
    return np.asarray(np.take(arrays[0], arrays[1], axis=node.attribute("axis", 0)))


@folder("Unsqueeze")
def _unsqueeze(node: OnnxNode, arrays: list[Any]) -> Array:
    return np.expand_dims(arrays[0], tuple(int(axis) for axis in arrays[1]))


@folder("Squeeze")
def _squeeze(node: OnnxNode, arrays: list[Any]) -> Array:
    return np.asarray(np.squeeze(arrays[0], tuple(int(axis) for axis in arrays[1]) if len(arrays) > 1 else None))


@folder("Reshape")
def _reshape(node: OnnxNode, arrays: list[Any]) -> Array:
    target = [int(size) for size in arrays[1]]
    if not node.attribute("allowzero", 0):
        target = [arrays[0].shape[i] if size == 0 else size for i, size in enumerate(target)]
    return np.reshape(arrays[0], target)


@folder("Slice")
def _slice(node: OnnxNode, arrays: list[Any]) -> Array:
    data, starts, ends, axes, steps = (*arrays, None, None)[:5]
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    index: list[slice] = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = data.shape[axis]
        stop = None if step < 0 and end < -size else int(end)
        index[axis] = slice(int(start), stop, int(step))
    return np.asarray(data[tuple(index)])


@folder("Split")
def _split(node: OnnxNode, arrays: list[Any]) -> list[Array]:
    axis = node.attribute("axis", 0)
    if len(arrays) > 1 and arrays[1] is not None:
        return np.split(arrays[0], np.cumsum(arrays[1])[:-1], axis=axis)
    size = -(-arrays[0].shape[axis] // len(node.outputs))
    return np.split(arrays[0], range(size, arrays[0].shape[axis], size), axis=axis)


@folder("Transpose")
def _transpose(node: OnnxNode, arrays: list[Any]) -> Array:
    return np.transpose(arrays[0], node.attribute("perm"))


@folder("Expand")
def _expand(node: OnnxNode, arrays: list[Any]) -> Array:
    return np.asarray(arrays[0] * np.ones(tuple(arrays[1]), arrays[0].dtype))


@folder("Tile")
def _tile(node: OnnxNode, arrays: list[Any]) -> Array:
    return np.tile(arrays[0], arrays[1])


@folder("Range")
def _range(node: OnnxNode, arrays: list[Any]) -> Array:
    return np.arange(*(array.reshape(())[()] for array in arrays), dtype=arrays[0].dtype)


@folder("Where")
def _where(node: OnnxNode, arrays: list[Any]) -> Array:
    return np.asarray(np.where(*arrays))


@folder("ReduceProd", "ReduceSum", "ReduceMin", "ReduceMax")
def _reduced(node: OnnxNode, arrays: list[Any]) -> Array:
    function: Any = {"ReduceProd": np.prod, "ReduceSum": np.sum, "ReduceMin": np.min, "ReduceMax": np.max}[node.op]
    axes = tuple(int(axis) for axis in arrays[1]) if len(arrays) > 1 and arrays[1] is not None else None
    if not axes:
        axes = () if node.attribute("noop_with_empty_axes", 0) else None
    return np.asarray(function(arrays[0], axis=axes, keepdims=bool(node.attribute("keepdims", 1))), arrays[0].dtype)


def _quotient(left: Any, right: Any) -> Any:
    """Integers divide towards zero, as in C."""
    if np.asarray(left).dtype.kind == "f":
        return np.divide(left, right)
    return np.asarray(np.trunc(np.true_divide(left, right))).astype(np.asarray(left).dtype)


_UNARY: dict[str, Callable[[Any], Any]] = {
    "Abs": np.abs,
    "Ceil": np.ceil,
    "Exp": np.exp,
    "Floor": np.floor,
    "Log": np.log,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Reciprocal": np.reciprocal,
    "Sqrt": np.sqrt,
}
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "And": np.logical_and,
    "Div": _quotient,
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Or": np.logical_or,
    "Pow": np.power,
    "Sub": np.subtract,
    "Sum": np.add,
}


@folder(*_UNARY)
def _unary(node: OnnxNode, arrays: list[Any]) -> Array:
    return np.asarray(_UNARY[node.op](arrays[0]))


@folder(*_BINARY)
def _binary(node: OnnxNode, arrays: Sequence[Any]) -> Array:
    return np.asarray(reduce(_BINARY[node.op], arrays))
