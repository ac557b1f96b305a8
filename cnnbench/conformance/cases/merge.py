"""Layers that join values: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import EVEN, LayerCase
from cnnbench.spec.layers import Add, Concat

CASES = {
    "add/three": LayerCase(Add(), EVEN * 3),
    "concat/channels": LayerCase(Concat(), ((2, 5, 5), (3, 5, 5))),
    "concat/last": LayerCase(Concat(axis=-1), ((3, 5, 2), (3, 5, 4))),
}
