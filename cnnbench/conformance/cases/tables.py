"""Fixed tables: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.tables import CausalMask, ConstantTable, RelativeOffsets, ShiftedWindowMask, SinusoidTable

ANY: tuple[Shape, ...] = ((3,),)

CASES = {
    "constant_table/weights": LayerCase(ConstantTable(entries=(0.1, 1.0, 1 / 3)), ANY),
    "sinusoid_table/interleaved": LayerCase(SinusoidTable(length=9, features=6), ANY),
    "sinusoid_table/halves": LayerCase(SinusoidTable(length=5, features=8, arrangement="halves"), ANY),
    "causal_mask/plain": LayerCase(CausalMask(length=4), ANY),
    "shifted_window_mask/both_axes": LayerCase(ShiftedWindowMask(size=(4, 9), window_size=(2, 3), shift=(1, 1)), ANY),
    "shifted_window_mask/one_axis": LayerCase(ShiftedWindowMask(size=(2, 6), window_size=(2, 3), shift=(0, 2)), ANY),
    "relative_offsets/plain": LayerCase(RelativeOffsets(size=(2, 3)), ANY),
}
