"""Padding: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import EVEN, LayerCase
from cnnbench.spec.layers import Pad
from cnnbench.spec.layers.padding import PAD_MODES

VOLUME = ((2, 3, 4, 5),)
TOKENS = ((6, 5),)

CASES = {
    "pad/constant": LayerCase(Pad(padding=((0, 1), (1, 0), (2, 3)), value=0.5), EVEN),
    "pad/below_all": LayerCase(Pad(padding=((0, 0), (0, 1), (2, 0)), value="-inf"), EVEN),
    "pad/zero": LayerCase(Pad(padding=((2, 1), (0, 3), (1, 0))), EVEN),
    **{f"pad/{mode}": LayerCase(Pad(padding=((0, 0), (1, 3), (4, 2)), mode=mode), EVEN) for mode in PAD_MODES[1:]},
    **{f"pad/{mode}_channels": LayerCase(Pad(padding=((2, 1), (0, 1)), mode=mode), TOKENS) for mode in PAD_MODES[1:]},
    **{
        f"pad/{mode}_3d": LayerCase(Pad(padding=((0, 0), (0, 2), (1, 0), (3, 4)), mode=mode), VOLUME)
        for mode in PAD_MODES[1:]
    },
}
