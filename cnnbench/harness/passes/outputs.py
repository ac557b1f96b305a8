"""What is wrong at first sight with the outputs of the program that will be timed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnbench.harness.passes.findings import Failure
from cnnbench.harness.suite.cell import Cell
from cnnbench.spec.graph import Graph


def judge_outputs(graph: Graph, cell: Cell, outputs: Mapping[str, Any]) -> Failure | None:
    """The failure that the outputs of a cell's first call amount to, or None.

    Args:
        graph: The cell's network, whose shapes are expected.
        cell: The cell, whose batch and precision are.
        outputs: Arrays by name.
    """
    shapes = graph.shapes(cell.batch)
    wanted = "float64" if cell.precision == "float64" else "float32"
    for name, value in graph.outputs:
        array = outputs.get(name)
        if array is None or tuple(array.shape) != shapes[value]:
            found = "missing" if array is None else list(array.shape)
            return Failure(status="wrong_shape", reason=f"output {name!r} is {found}, expected {list(shapes[value])}")
        if graph.dtypes[value] == "int":
            if array.dtype.kind not in "iu":
                reason = f"output {name!r} is {array.dtype.name}, expected integers"
                return Failure(status="wrong_dtype", reason=reason)
        elif array.dtype.name != wanted:
            return Failure(status="wrong_dtype", reason=f"output {name!r} is {array.dtype.name}, expected {wanted}")
        wrong = int(np.count_nonzero(~np.isfinite(array)))
        if wrong:
            return Failure(status="nan", reason=f"output {name!r} has {wrong} of {array.size} values not finite")
    return None
