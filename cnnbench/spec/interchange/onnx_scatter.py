"""Importers of operators that write at known positions: ScatterElements, ScatterND.

A table says of each element of the result whether it is the operand's or which of the updates it is.
"""

from __future__ import annotations

import numpy as np

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
from cnnbench.spec.interchange.onnx_tensor import Array
from cnnbench.spec.layers import Add, Concat, Layer
from cnnbench.spec.layers.indexing import Gather
from cnnbench.spec.layers.merge import Maximum, Minimum, Multiply

_REDUCTIONS: dict[str, tuple[type[Layer], float | None]] = {
    "add": (Add, 0.0),
    "mul": (Multiply, 1.0),
    "max": (Maximum, None),
    "min": (Minimum, None),
}


@importer("ScatterElements", "Scatter")
def scatter_elements(node: OnnxNode) -> Value:
    """ScatterElements, and Scatter, as it was called before version 11."""
    x = node.value(0)
    axis = positive(node.attribute("axis", 0), len(x.shape))
    _require_known(node)
    tables = tables_of(node, x, len(x.shape), lambda indices, shape: element_places(indices, shape, axis))
    return _scattered(node, x, tables)


@importer("ScatterND")
def scatter_nd(node: OnnxNode) -> Value:
    """ScatterND."""
    x = node.value(0)
    _require_known(node)
    tables = tables_of(node, x, node.shape(1)[-1], lambda indices, shape: nd_places(indices, shape, 0))
    return _scattered(node, x, tables)


def _require_known(node: OnnxNode) -> None:
    if not is_known(node, 1):
        raise node.reject(
            "computed indices are not imported", received=f"{node.inputs[1]!r}", expected="indices that are known"
        )


def _scattered(node: OnnxNode, x: Value, tables: Tables) -> Value:
    """The operand with its third input at the positions, or combined with what is there."""
    reduction = node.attribute("reduction", "none")
    if reduction != "none" and reduction not in _REDUCTIONS:
        raise node.reject("reduction is not valid", received=reduction, expected=f"none, {', '.join(_REDUCTIONS)}")
    table = (of_one_image(node, tables) if tables.by_image else tables.arrays[0]).reshape(-1)
    updates = node.value(2)
    rank = len(updates.shape) - len(x.shape[tables.axes :])
    rows = joined_rows(node, x, tables, tables.size, tables.axes, "rows")
    news = joined_rows(node, updates, tables, table.size, rank, "updates")
    if reduction == "none":
        found = _mixed(node, rows, news, tables, _replaced(table, tables.size))
    else:
        found = rows
        for selected in _rounds(table):
            found = _combined(node, found, news, tables, (table, selected), reduction)
    return reshaped(node, found, x.shape)


def _replaced(table: Array, size: int) -> Array:
    """For each position the element that stands there in the end: its own, or the last update, which come after."""
    sources = np.arange(size)
    for i, place in enumerate(table):
        sources[place] = size + i
    return sources


def _rounds(table: Array) -> list[Array]:
    """The updates in groups in which no position comes twice, in order."""
    seen: dict[int, int] = {}
    groups: list[list[int]] = []
    for i, place in enumerate(map(int, table)):
        turn = seen.get(place, 0)
        seen[place] = turn + 1
        if turn == len(groups):
            groups.append([])
        groups[turn].append(i)
    return [np.asarray(group) for group in groups]


def _mixed(node: OnnxNode, rows: Value, news: Value, tables: Tables, sources: Array) -> Value:
    """Rows picked from two values, one after the other.

    Args:
        node: Where the layers belong.
        rows: The first value.
        news: The second one.
        tables: Whether positions are by image.
        sources: Which row stands at each place.
    """
    axis = 1 if tables.by_image else 0
    joined = node.add(Concat(axis=axis), rows, news, part="joined")
    return node.add(Gather(indices=tuple(map(int, sources)), axis=axis), joined, part="mixed")


def _combined(
    node: OnnxNode, rows: Value, news: Value, tables: Tables, chosen: tuple[Array, Array], reduction: str
) -> Value:
    """Rows combined with some of the updates.

    Args:
        node: Where the layers belong.
        rows: The rows so far.
        news: The updates.
        tables: Whether positions are by image.
        chosen: The position of each update, and which updates take part.
        reduction: What combines them.
    """
    layer, neutral = _REDUCTIONS[reduction]
    table, selected = chosen
    if neutral is None:  # a row that no update reaches is compared with itself
        sources = np.arange(tables.size)
        sources[table[selected]] = tables.size + selected
        return node.add(layer(), rows, _mixed(node, rows, news, tables, sources), part="combined")
    lead = (1,) if tables.by_image else ()
    shape = (*lead, 1, *rows.shape[1 + len(lead) :])
    row = node.parameter(np.full(shape, neutral, np.float32), "neutral")
    row = node.over_batch(row, 0) if tables.by_image else row
    sources = np.zeros(tables.size, np.int64)
    sources[table[selected]] = 1 + selected
    return node.add(layer(), rows, _mixed(node, row, news, tables, sources), part="combined")
