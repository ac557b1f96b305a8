"""Positions in an operand that a model names by indices, as tables of where they are in its first axes as one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_batch import BATCHES, is_open, shapes_in
from cnnbench.spec.interchange.onnx_node import OnnxNode
from cnnbench.spec.interchange.onnx_shape import reshaped
from cnnbench.spec.interchange.onnx_tensor import Array
from cnnbench.spec.layers import Shape

Places = Callable[[Array, Shape], Array]
_TRIED = 3  # how many of BATCHES a table is worked out for


class Tables(NamedTuple):
    """Positions in the first axes of an operand, taken as one axis.

    Args:
        arrays: For each batch size that is tried.
        shapes: The operand's shape for each.
        axes: How many of its axes are taken as one.
        by_image: Whether the first of these axes is an open batch, whose images have the same positions.
    """

    arrays: list[Array]
    shapes: list[Shape]
    axes: int
    by_image: bool

    @property
    def size(self) -> int:
        """Of the joined axis, of one image where positions are those of each image."""
        return math.prod(self.shapes[0][: self.axes])


def is_known(node: OnnxNode, position: int) -> bool:
    """Whether an input is known, for each batch size, or its data is given."""
    tensor = node.tensor(position)
    return node.knowable(position) or (tensor is not None and tensor.arrays is not None)


def element_places(indices: Array, shape: Shape, axis: int) -> Array:
    """Where in an array, flattened, the elements stand that indices along an axis name.

    Args:
        indices: Of the array's rank.
        shape: The array's.
        axis: Along which the indices count; on the other axes an element stands where its index does.

    Raises:
        SpecError: An index outside of the axis.
    """
    grid: list[Array] = list(np.indices(indices.shape, sparse=True))
    grid[axis] = _counted(indices, shape[axis])
    strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    return np.asarray(sum(part * stride for part, stride in zip(grid, strides, strict=True)))


def nd_places(indices: Array, shape: Shape, shared: int) -> Array:
    """Where in the first axes of an array, taken as one, the parts stand that rows of indices name.

    Args:
        indices: (..., K): an index for each of the K axes behind the shared ones.
        shape: The array's.
        shared: How many first axes both have.

    Raises:
        SpecError: An index outside of its axis.
    """
    count = indices.shape[-1]
    grid: list[Array] = list(np.indices(indices.shape[:-1], sparse=True))[:shared]
    rows = [_counted(part, shape[shared + i]) for i, part in enumerate(np.moveaxis(indices, -1, 0))]
    strides = [math.prod(shape[i + 1 : shared + count]) for i in range(shared + count)]
    places = np.zeros(indices.shape[:-1], np.int64)
    for part, stride in zip((*grid, *rows), strides, strict=True):
        places = places + part * stride
    return places


def _counted(indices: Array, size: int) -> Array:
    """Indices counted from the front."""
    if ((indices < -size) | (indices >= size)).any():
        wrong = indices[(indices < -size) | (indices >= size)]
        raise SpecError("an index lies outside its axis", received=int(wrong[0]), expected=f"{-size} to {size - 1}")
    return np.where(indices < 0, indices + size, indices)


def tables_of(node: OnnxNode, x: Value, axes: int, places: Places) -> Tables:
    """The positions that the node's indices name.

    Args:
        node: Its second input holds the indices.
        x: The operand.
        axes: How many of its axes they are positions in.
        places: From indices, and the operand's shape, to positions.
    """
    tensor = node.tensor(1)
    known = None if tensor is None else tensor.arrays
    by_image = any(map(is_open, x.shape[:axes]))  # a batch behind these axes stays where it is
    arrays = (node.static(1, "the indices"),) * len(BATCHES) if known is None or not by_image else known
    count = _TRIED if by_image else 1
    shapes = list(shapes_in(x.shape))[:count]
    found = [places(array.astype(np.int64), shape) for array, shape in zip(arrays[:count], shapes, strict=True)]
    tables = Tables(found, shapes, axes, by_image)
    if by_image and (not is_open(x.shape[0]) or any(map(is_open, x.shape[1:]))):
        raise node.reject("the batch is not the first axis", received=x.shape)
    return tables


def of_one_image(node: OnnxNode, tables: Tables) -> Array:
    """The positions within an image, if they are the same for every image."""
    first = tables.arrays[0]
    for n, table in enumerate(tables.arrays[1:], 2):
        offsets = (np.arange(n) * tables.size).reshape(-1, *(1,) * first.ndim)
        if table.size != n * first.size or not np.array_equal(table.reshape(n, *first.shape), first + offsets):
            raise node.reject(
                "the indices are not the same for every image",
                received=f"indices {node.shape(1)}",
                expected="positions that each image has, or a model whose batch is fixed",
            )
    return first


def joined_rows(node: OnnxNode, x: Value, tables: Tables, count: int, axes: int, part: str) -> Value:
    """A value with some of its first axes as one, of each image where positions are those of each.

    Args:
        node: Where the layer belongs.
        x: The value.
        tables: Whether positions are by image.
        count: The size of the joined axis.
        axes: How many axes become one.
        part: What the layer is called.
    """
    lead = x.shape[:1] if tables.by_image else ()
    return reshaped(node, x, (*lead, count, *x.shape[axes:]), part)
