"""Importers of operators that repeat values or put them side by side: concat, expand, tile, and filled tensors."""

from __future__ import annotations

import numpy as np

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_batch import is_open, multiple_of_batch
from cnnbench.spec.interchange.onnx_node import OnnxNode, importer
from cnnbench.spec.interchange.onnx_shape import lifted, lowered, positive, with_batch
from cnnbench.spec.interchange.onnx_tensor import Tensor
from cnnbench.spec.layers import Concat, Shape
from cnnbench.spec.layers.shape import Expand, Tile


@importer("Concat")
def concat(node: OnnxNode) -> Value:
    """Concat. What has the batch size that the model fixes is given to every image, where it is the same for all."""
    axis = positive(node.attribute("axis"), len(node.shape(0)))
    over_images = axis and any(is_open(node.shape(i)[0]) for i in range(len(node.inputs)))
    values = [_row(node, i) if over_images else node.value(i) for i in range(len(node.inputs))]
    return node.add(Concat(axis=axis), *values)


def _row(node: OnnxNode, position: int) -> Value:
    """An input with the open batch; what the model fixes once for each image of its batch becomes one row for all."""
    size, array = node.shape(position)[0], node.constant(position)
    if node.stated_batch is None or size != node.stated_batch:
        return node.value(position)
    if array is not None and array.dtype.kind == "f" and (array == array[:1]).all():
        return node.over_batch(node.parameter(array[:1], f"row{position}"), 0)
    return node.over_batch(node.value(position), 0) if size == 1 else node.value(position)


@importer("Expand")
def expand(node: OnnxNode) -> Value:
    """Expand: broadcasting in both directions."""
    x = node.value(0)
    wanted = with_batch(node, x, node.ints(1, "the shape"))
    rank = max(len(wanted), len(x.shape))
    own = (1,) * (rank - len(x.shape)) + x.shape
    other = (1,) * (rank - len(wanted)) + wanted
    return expanded(node, x, tuple(b if a == 1 else a for a, b in zip(own, other, strict=True)))


def expanded(node: OnnxNode, x: Value, target: Shape, part: str = "") -> Value:
    """``x`` with axes of size 1 as long as in ``target``, further axes in front; the batch goes where it has none.

    Args:
        node: Where the layers belong.
        x: Any shape that broadcasts to the target.
        target: The other shape, whose sizes may depend on the batch.
        part: As in ``OnnxNode.add``.
    """
    own = (1,) * (len(target) - len(x.shape)) + x.shape
    images = [axis for axis, size in enumerate(own) if size == 1 and is_open(target[axis])]
    inner = tuple(multiple_of_batch(size) or size if axis in images else size for axis, size in enumerate(target))
    x = _repeated(node, x, inner, part)
    for axis in images:
        x = node.over_batch(x, axis)
    return x


def _repeated(node: OnnxNode, x: Value, target: Shape, part: str) -> Value:
    """As ``expanded``, where the sizes of the target that depend on the batch are those of ``x``."""
    if target == x.shape:
        return x
    kept = tuple(-1 if is_open(size) else size for size in target)
    if x.shape and target[0] == x.shape[0] and len(target) == len(x.shape):
        return node.add(Expand(shape=kept[1:]), x, part=part)
    return lowered(node, node.add(Expand(shape=kept), lifted(node, x, f"{part}lifted"), part=f"{part}expanded"))


@importer("Tile")
def tile(node: OnnxNode) -> Value:
    """Tile."""
    x, repeats = node.value(0), node.ints(1, "repeats")
    images = [axis for axis, count in enumerate(repeats) if is_open(count)]
    counts = tuple(multiple_of_batch(count) or count if axis in images else count for axis, count in enumerate(repeats))
    if counts[:1] == (1,):
        x = node.add(Tile(repeats=counts[1:]), x) if any(count != 1 for count in counts) else x
    else:
        x = lowered(node, node.add(Tile(repeats=counts), lifted(node, x), part="tiled"))
    for axis in images:
        x = node.over_batch(x, axis)
    return x


@importer("ConstantOfShape")
def constant_of_shape(node: OnnxNode) -> Tensor:
    """ConstantOfShape of a shape that was given."""
    value = node.attribute("value", np.zeros(1, np.float32))
    return node.filled(node.ints(0, "the shape"), value.reshape(-1)[0], value.dtype)
