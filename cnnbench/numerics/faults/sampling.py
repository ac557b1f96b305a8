"""Faults of sampling an image at given places: conventions of its coordinates and of what lies outside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import Arrays, Fault, other_layer
from cnnbench.numerics.faults.engine.drawn import Draw, Drawn, normal, on
from cnnbench.spec.layers import Concat
from cnnbench.spec.layers.arithmetic import Clip
from cnnbench.spec.layers.sampling import GridSample


def _around(limit: float) -> Draw:
    """Places between -limit and limit; beyond 1 they lie outside the image."""
    return lambda generator, shape: generator.uniform(-limit, limit, shape)


def _on_grid(layer: GridSample, limit: float = 0.9) -> Any:
    return on(layer, Drawn((3, 5, 6), normal()), Drawn((4, 4, 2), _around(limit)))


def _rows_first(right: Operation, table: Operations) -> Operation:
    """Points as (y, x)."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        image, grid = inputs
        parts = (grid[..., 1:], grid[..., :1])
        (turned,) = table["concat"].forward(Concat(axis=len(grid.shape) - 1), parts, (), (), call).outputs
        return right.forward(layer, (image, turned), weights, state, call)

    return Operation(forward, right.backward, right.weight_layout)


def _within_three(right: Operation, table: Operations) -> Operation:
    """Points no farther than what one reflection brings back."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        image, grid = inputs
        (near,) = table["clip"].forward(Clip(minimum=-3.0, maximum=3.0), (grid,), (), (), call).outputs
        return right.forward(layer, (image, near), weights, state, call)

    return Operation(forward, right.backward, right.weight_layout)


FAULTS = (
    Fault(
        "grid_sample.align_corners",
        "grid_sample",
        "-1 and 1 taken for the centres of the outer pixels (PyTorch before 1.3) where they are their edges",
        _on_grid(GridSample()),
        operation=other_layer(lambda layer: replace(layer, align_corners=True)),
    ),
    Fault(
        "grid_sample.rows_first",
        "grid_sample",
        "points read as (y, x), as arrays are indexed, where they are (x, y)",
        _on_grid(GridSample()),
        operation=_rows_first,
    ),
    Fault(
        "grid_sample.border_for_zeros",
        "grid_sample",
        "the border repeated outside the image where there are zeros",
        _on_grid(GridSample(), limit=1.5),
        operation=other_layer(lambda layer: replace(layer, padding="border")),
    ),
    Fault(
        "grid_sample.reflected_once",
        "grid_sample",
        "points beyond three half images clamped, where reflection goes on",
        _on_grid(GridSample(padding="reflection"), limit=1.5),
        operation=_within_three,
    ),
    Fault(
        "grid_sample.nearest",
        "grid_sample",
        "the nearest pixel where four were to be interpolated (a mode lost in an export)",
        _on_grid(GridSample()),
        operation=other_layer(lambda layer: replace(layer, mode="nearest")),
    ),
)
