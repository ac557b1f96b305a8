"""Values of an ONNX model while it is written: names with shapes, or known arrays; arithmetic on them adds nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import EllipsisType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench_onnxruntime.tracing import current

ONNX_TYPES = {"float32": 1, "int64": 7, "bool": 9}  # of onnx.TensorProto
LAST = 2**63 - 1
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power, "Neg": np.negative,
    "Abs": np.abs, "Not": np.logical_not, "Less": np.less, "LessOrEqual": np.less_equal, "Greater": np.greater,
    "Mod": np.mod,    "GreaterOrEqual": np.greater_equal, "Equal": np.equal,
}  # fmt: skip


class OnnxValue:
    """An operand or result of an op: a named value of the ONNX model, or a known array.

    Args:
        name: In the model.
        shape: For a batch of one image.
        dtype: ``float32``, ``int64`` or ``bool``.
        array: What it holds, where that is known when the model is written.
    """

    __array_ufunc__ = None  # so that a NumPy array on the left hands its arithmetic over

    def __init__(self, name: str, shape: tuple[int, ...], dtype: str, array: NDArray[Any] | None = None) -> None:
        self.name = name
        self.shape = shape
        self.dtype = dtype
        self.array = array

    def __add__(self, other: Any) -> OnnxValue:
        return _binary("Add", self, other)

    def __radd__(self, other: Any) -> OnnxValue:
        return _binary("Add", other, self)

    def __sub__(self, other: Any) -> OnnxValue:
        return _binary("Sub", self, other)

    def __rsub__(self, other: Any) -> OnnxValue:
        return _binary("Sub", other, self)

    def __mul__(self, other: Any) -> OnnxValue:
        return _binary("Mul", self, other)

    def __rmul__(self, other: Any) -> OnnxValue:
        return _binary("Mul", other, self)

    def __truediv__(self, other: Any) -> OnnxValue:
        return _binary("Div", self, other)

    def __rtruediv__(self, other: Any) -> OnnxValue:
        return _binary("Div", other, self)

    def __mod__(self, other: Any) -> OnnxValue:
        return _binary("Mod", self, other)  # of integers

    def __floordiv__(self, other: Any) -> OnnxValue:
        return (self - self % other) / other

    def __pow__(self, other: Any) -> OnnxValue:
        return _binary("Pow", self, other)

    def __or__(self, other: OnnxValue) -> OnnxValue:
        return _of_both("Or", self, other)

    def __and__(self, other: OnnxValue) -> OnnxValue:
        return _of_both("And", self, other)

    def __neg__(self) -> OnnxValue:
        return _unary("Neg", self)

    def __abs__(self) -> OnnxValue:
        return _unary("Abs", self)

    def __lt__(self, other: Any) -> OnnxValue:
        return _binary("Less", self, other, "bool")

    def __le__(self, other: Any) -> OnnxValue:
        return _binary("LessOrEqual", self, other, "bool")

    def __gt__(self, other: Any) -> OnnxValue:
        return _binary("Greater", self, other, "bool")

    def __ge__(self, other: Any) -> OnnxValue:
        return _binary("GreaterOrEqual", self, other, "bool")

    def __eq__(self, other: object) -> OnnxValue:  # type: ignore[override]
        return _binary("Equal", self, other, "bool")

    def __ne__(self, other: object) -> OnnxValue:  # type: ignore[override]
        return _unary("Not", self == other)

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, index: Any) -> OnnxValue:
        """Slices and single positions along axes, with one ellipsis."""
        return _sliced(self, index if isinstance(index, tuple) else (index,))

    def swapaxes(self, first: int, second: int) -> OnnxValue:
        """With two axes exchanged."""
        axes = list(range(len(self.shape)))
        axes[first], axes[second] = axes[second], axes[first]
        if self.array is not None:
            return known(self.array.transpose(axes))
        name = current().emit("Transpose", self.name_in_model(), perm=axes)
        return OnnxValue(name, tuple(self.shape[axis] for axis in axes), self.dtype)

    def name_in_model(self) -> str:
        """The name; a known array is first added to the model."""
        if self.array is not None:
            current().hold(self.name, self.array)
        return self.name


def asarray(array: Any, dtype: str = "float32") -> OnnxValue:
    """A known array."""
    return known(np.asarray(array, dtype))


def known(array: NDArray[Any]) -> OnnxValue:
    """A known array of one of the types that values have."""
    return OnnxValue(current().fresh("constant"), array.shape, str(array.dtype), array)


def zeros_like(value: OnnxValue) -> OnnxValue:
    """Zeros that broadcast to the value's shape, whatever the batch."""
    return asarray(np.zeros((1,) * len(value.shape)), value.dtype)


def where(condition: OnnxValue, value: Any, other: Any) -> OnnxValue:
    """``value`` where the condition holds, elsewhere ``other``.

    Args:
        condition: Of truth values.
        value: A value or a number.
        other: A value or a number.
    """
    like = next(item for item in (value, other) if isinstance(item, OnnxValue))
    one, two = _alike(value, like), _alike(other, like)
    shape = np.broadcast_shapes(condition.shape, one.shape, two.shape)
    name = current().emit("Where", *(item.name_in_model() for item in (condition, one, two)))
    return OnnxValue(name, shape, like.dtype)


def _alike(item: Any, like: OnnxValue) -> OnnxValue:
    if not isinstance(item, OnnxValue):
        return asarray(item, like.dtype)
    if item.dtype == like.dtype:
        return item
    return OnnxValue(current().emit("Cast", item.name_in_model(), to=ONNX_TYPES[like.dtype]), item.shape, like.dtype)


def _binary(operator: str, left: Any, right: Any, dtype: str | None = None) -> OnnxValue:
    given = [item for item in (left, right) if isinstance(item, OnnxValue)]
    like = next((item for item in given if item.dtype == "float32"), given[0])
    if like.dtype == "bool":
        like = OnnxValue(like.name, like.shape, "float32")
    one, two = _alike(left, like), _alike(right, like)
    if one.array is not None and two.array is not None:
        return known(FUNCTIONS[operator](one.array, two.array))
    name = current().emit(operator, one.name_in_model(), two.name_in_model())
    return OnnxValue(name, np.broadcast_shapes(one.shape, two.shape), dtype or like.dtype)


def _of_both(operator: str, one: OnnxValue, two: OnnxValue) -> OnnxValue:
    name = current().emit(operator, one.name_in_model(), two.name_in_model())
    return OnnxValue(name, np.broadcast_shapes(one.shape, two.shape), "bool")


def _unary(operator: str, value: OnnxValue) -> OnnxValue:
    if value.array is not None:
        return known(np.asarray(FUNCTIONS[operator](value.array)))
    return OnnxValue(current().emit(operator, value.name_in_model()), value.shape, value.dtype)


def _sliced(value: OnnxValue, index: tuple[Any, ...]) -> OnnxValue:
    if value.array is not None:
        return known(value.array[index])
    rank = len(value.shape)
    whole = rank - sum(item is not Ellipsis and item is not None for item in index)
    at = next((i for i, item in enumerate(index) if item is Ellipsis), len(index))
    full = (*index[:at], *(slice(None),) * whole, *(item for item in index[at:] if not isinstance(item, EllipsisType)))
    new = [axis for axis, item in enumerate(full) if item is None]  # behind a single position there is none in faults
    full = tuple(item for item in full if item is not None)
    parts = [item if isinstance(item, slice) else slice(item, item + 1 or None) for item in full]
    bounds = [_bounds(item) for item in parts]
    axes = list(range(rank))
    operands = [[b[0] for b in bounds], [b[1] for b in bounds], axes, [b[2] for b in bounds]]
    names = [asarray(item, "int64").name_in_model() for item in operands]
    name = current().emit("Slice", value.name_in_model(), *names)
    shape = tuple(len(range(size)[part]) for size, part in zip(value.shape, parts, strict=True))
    gone = [axis for axis, item in enumerate(full) if not isinstance(item, slice)]
    if gone:
        name = current().emit("Squeeze", name, asarray(gone, "int64").name_in_model())
        shape = tuple(size for axis, size in enumerate(shape) if axis not in gone)
    if new:
        name = current().emit("Unsqueeze", name, asarray(new, "int64").name_in_model())
        for axis in new:
            shape = (*shape[:axis], 1, *shape[axis:])
    return OnnxValue(name, shape, value.dtype)


def _bounds(part: slice) -> tuple[int, int, int]:
    step = 1 if part.step is None else part.step
    start = part.start if part.start is not None else (0 if step > 0 else LAST)
    stop = part.stop if part.stop is not None else (LAST if step > 0 else -LAST)
    return start, stop, step
