"""Values of a graph from tensors that are known: layers that hold arrays, rows given to every image, the batch size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_batch import BATCHES, is_open, multiple_of_batch
from cnnbench.spec.interchange.onnx_tensor import Array, Tensor
from cnnbench.spec.layers import Add, Layer, Shape
from cnnbench.spec.layers.arithmetic import Parameter
from cnnbench.spec.layers.merge import Multiply
from cnnbench.spec.layers.reduction import ArgReduce, Reduce
from cnnbench.spec.layers.shape import Expand, Reshape, Transpose, Unsqueeze

_MOST_ONES = 1 << 22  # elements in which indices are held


class Adder(Protocol):
    """Adds a layer to the graph and returns its first output. Args: as of ``OnnxNode.add``."""

    def __call__(
        self, layer: Layer, *values: Value, part: str = "", arrays: Mapping[str, Array] | None = None
    ) -> Value: ...


def as_value(tensor: Tensor, add: Adder, batch: Callable[[], Value], *, as_float: bool) -> Value:
    """A value that holds what is known of a tensor.

    Args:
        tensor: Known, or known for each batch size.
        add: Adds its layers.
        batch: Gives a value whose first axis is the batch.
        as_float: Whether integers and booleans may become floats.

    Raises:
        SpecError: Booleans where ``as_float`` does not hold, or elements that depend on the batch in another way than
            a layer has it.
    """
    arrays = tensor.arrays
    if arrays is None:
        raise SpecError("the tensor has no value")
    as_indices = tensor.kind == "i" and not as_float
    if tensor.kind == "b" and not as_float:
        raise SpecError("booleans that are known are read as values", received=f"{arrays[0].dtype} {arrays[0].shape}")
    if not as_indices:
        arrays = tuple(array if array.dtype.kind == "f" else array.astype(np.float32) for array in arrays)
    if tensor.array is not None:
        return _held(add, arrays[0], "", as_indices=as_indices)
    axes = [axis for axis, size in enumerate(tensor.shape) if is_open(size)]
    if not axes and not as_indices:
        return _of_the_batch_size(add, arrays, batch())
    if len(axes) != 1 or multiple_of_batch(tensor.shape[axes[0]]) is None or not _repeats(arrays, axes[0]):
        raise _depends()
    return over_batch(add, _held(add, arrays[0], "row", as_indices=as_indices), axes[0], batch())


def hold(add: Adder, array: Array, part: str = "", *, trainable: bool = True) -> Value:
    """A layer that holds an array.

    Args:
        add: Adds it.
        array: Of floats.
        part: Its name within the node.
        trainable: Whether it is a weight; else it is a buffer.
    """
    return add(Parameter(shape=array.shape, trainable=trainable), part=part, arrays={"value": array})


def _held(add: Adder, array: Array, part: str, *, as_indices: bool) -> Value:
    """Layers that hold an array; integers as the position of the one in each row of zeros."""
    if not as_indices:
        return hold(add, array, part)
    most = int(array.max(initial=0))
    if array.min(initial=0) < 0 or array.size * (most + 1) > _MOST_ONES:
        raise SpecError(
            "integers that are known are read as values",
            received=f"{array.dtype} {array.shape} from {array.min(initial=0)} to {most}",
            expected="indices of at least 0, few enough to be held",
        )
    rows = np.eye(most + 1, dtype=np.float32)[array]
    ones = hold(add, rows, f"{part}_ones" if part else "ones", trainable=False)
    return add(ArgReduce(function="argmax", axis=array.ndim, keepdims=False), ones, part=part)


def _depends() -> SpecError:
    return SpecError(
        "elements that are known depend on the batch size",
        expected="elements that are the same for every image, or a number times the batch size",
        remedy="export the model with its batch fixed; it is then read as a network of that batch",
    )


def _repeats(arrays: tuple[Array, ...], axis: int) -> bool:
    """Whether for N images the array is N times, one after the other, what it is for one."""
    if not any(any(array.strides) for array in arrays):  # one number everywhere, held once
        return len({array.flat[0] for array in arrays}) == 1
    for n, array in zip(BATCHES, arrays, strict=True):
        shape = array.shape
        parts = array.reshape(*shape[:axis], n, shape[axis] // n, *shape[axis + 1 :])
        if not np.array_equal(parts, np.broadcast_to(np.expand_dims(arrays[0], axis), parts.shape)):
            return False
    return True


def _of_the_batch_size(add: Adder, arrays: tuple[Array, ...], batch: Value) -> Value:
    """Elements a + b N for N images, from what they are for each of ``BATCHES``."""
    slope = arrays[1].astype(np.float64) - arrays[0]
    rest = arrays[0] - slope
    if any(not np.allclose(slope * n + rest, array, rtol=1e-6) for n, array in zip(BATCHES, arrays, strict=True)):
        raise _depends()
    ones = add(Expand(shape=(1,)), hold(add, np.ones((1, 1), np.float32), "one", trainable=False), batch, part="ones")
    total = add(Reduce(function="sum", axes=(0,), keepdims=True), ones, part="images")
    count = add(Reshape(shape=(1,) * slope.ndim, whole=True), total, part="number")
    scaled = add(
        Multiply(), count, hold(add, slope.astype(arrays[0].dtype), "slope", trainable=False), part="of_the_batch"
    )
    return add(Add(broadcast=True), scaled, hold(add, rest.astype(arrays[0].dtype), "rest", trainable=False))


def over_batch(add: Adder, x: Value, axis: int, batch: Value) -> Value:
    """``x`` repeated along an axis as often as there are images.

    Args:
        add: Adds the layers.
        x: A value without a batch.
        axis: Which axis is repeated, block after block.
        batch: A value whose first axis is the batch.
    """
    if axis == 0 and x.shape[0] == 1:
        return add(Expand(shape=x.shape[1:]), x, batch)
    rank = len(x.shape)
    lifted = add(Unsqueeze(axes=(0,)), x, part="lifted")
    repeated = add(Expand(shape=x.shape), lifted, batch, part="of_every_image")
    if axis:
        order = (*range(1, axis + 1), 0, *range(axis + 1, rank + 1))
        repeated = add(Transpose(permutation=order), repeated, part="turned")
    return add(Reshape(shape=(*x.shape[:axis], -1, *x.shape[axis + 1 :]), whole=True), repeated)


def reshape_layer(source: Shape, target: Shape) -> Reshape:
    """The layer that gives a value another shape, whatever the batch is.

    Args:
        source: The value's shape, whose sizes may depend on the batch.
        target: The other one's.

    Raises:
        SpecError: Several sizes depend on the batch in a way that no layer has.
    """
    open_ = [is_open(size) for size in target]
    sizes = tuple(-1 if is_open(size) else size for size in target)
    if any(open_) and source[:1] == target[:1] and sum(open_[1:]) <= 1:
        return Reshape(shape=sizes[1:])
    if sum(open_) > 1:
        raise SpecError("several sizes of a shape depend on the batch", received=target)
    return Reshape(shape=sizes, whole=True)
