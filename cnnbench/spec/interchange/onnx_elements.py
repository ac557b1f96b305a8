"""Importers of operators that read at positions: GatherElements, GatherND."""

from __future__ import annotations

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import OnnxNode, importer
from cnnbench.spec.interchange.onnx_places import (
    Tables,
    element_places,
    is_known,
    joined_rows,
    nd_places,
    of_one_image,
    tables_of,
)
from cnnbench.spec.interchange.onnx_shape import positive, reshaped
from cnnbench.spec.layers.indexing import Gather, GatherIndices
from cnnbench.spec.layers.shape import Squeeze, Transpose


@importer("GatherElements")
def gather_elements(node: OnnxNode) -> Value:
    """GatherElements: indices that are known, or computed ones of the operand's shape but for the axis."""
    x = node.value(0)
    rank = len(x.shape)
    axis = positive(node.attribute("axis", 0), rank)
    if is_known(node, 1):
        return _taken(node, x, tables_of(node, x, rank, lambda indices, shape: element_places(indices, shape, axis)))
    indices = node.value(1)
    if [s for i, s in enumerate(indices.shape) if i != axis] != [s for i, s in enumerate(x.shape) if i != axis]:
        raise node.reject(
            "computed indices have another shape", received=indices.shape, expected=f"{x.shape} but for axis {axis}"
        )
    order = (*(i for i in range(rank) if i != axis), axis)
    back = tuple(order.index(i) for i in range(rank))
    rows = [node.add(Transpose(permutation=order), v, part=f"last_{i}") for i, v in enumerate((x, indices))]
    taken = node.add(GatherIndices(axis=rank - 1, shared_axes=rank - 1), *rows, part="taken")
    return node.add(Transpose(permutation=back), taken)


@importer("GatherND")
def gather_nd(node: OnnxNode) -> Value:
    """GatherND: indices that are known, or computed ones of a single axis."""
    x, shared = node.value(0), node.attribute("batch_dims", 0)
    if is_known(node, 1):
        count = shared + node.shape(1)[-1]
        return _taken(node, x, tables_of(node, x, count, lambda indices, shape: nd_places(indices, shape, shared)))
    indices = node.value(1)
    if indices.shape[-1] != 1:
        raise node.reject(
            "computed indices of several axes are not imported",
            received=f"indices {indices.shape}",
            expected="known indices, or computed ones whose last size is 1",
        )
    last = node.add(Squeeze(axes=(len(indices.shape) - 1,)), indices, part="indices")
    return node.add(GatherIndices(axis=shared, shared_axes=shared), x, last)


def _taken(node: OnnxNode, x: Value, tables: Tables) -> Value:
    """The elements, or parts, at the positions."""
    table = of_one_image(node, tables) if tables.by_image else tables.arrays[0]
    rest = x.shape[tables.axes :]
    rows = joined_rows(node, x, tables, tables.size, tables.axes, "rows")
    axis = 1 if tables.by_image else 0
    taken = node.add(Gather(indices=tuple(map(int, table.reshape(-1))), axis=axis), rows, part="taken")
    shape = (*x.shape[:1], *table.shape[1:]) if tables.by_image else table.shape
    return reshaped(node, taken, (*shape, *rest))
