"""Attention within windows: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.spec.composites.window_attention import WindowAttention

CASES = {
    "window_attention/plain": LayerCase(WindowAttention(num_heads=2, window_size=(2, 3)), ((4, 6, 4),)),
    "window_attention/shifted": LayerCase(WindowAttention(num_heads=2, window_size=(2, 3), shift=(1, 1)), ((4, 6, 4),)),
    "window_attention/padded": LayerCase(WindowAttention(num_heads=1, window_size=3), ((4, 5, 4),), batch=1),
    "window_attention/shifted_and_padded": LayerCase(
        WindowAttention(num_heads=3, window_size=(3, 2), shift=(2, 1)), ((5, 7, 6),)
    ),
    "window_attention/one_window_along_an_axis": LayerCase(
        WindowAttention(num_heads=2, window_size=(4, 2), shift=(2, 1), qkv_bias=False), ((4, 6, 4),)
    ),
}
