"""Layers that move values: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import EVEN, LayerCase
from cnnbench.spec.layers import Flatten, Pad

CASES = {
    "pad/constant": LayerCase(Pad(padding=((0, 1), (1, 0), (2, 3)), value=0.5), EVEN),
    "flatten/plain": LayerCase(Flatten(), EVEN),
    "flatten/later": LayerCase(Flatten(start_axis=2), EVEN),
}
