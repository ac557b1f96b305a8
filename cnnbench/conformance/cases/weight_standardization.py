"""Convolutions with standardised weights: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import EVEN, LayerCase
from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.weight_standardization import ScaledWSConv


def _case(images: tuple[Shape, ...] = EVEN, **fields: object) -> LayerCase:
    return LayerCase(ScaledWSConv(**{"out_channels": 6, "kernel_size": 3, **fields}), images)  # type: ignore[arg-type]


CASES = {
    "scaled_ws_conv/plain": _case(padding=1),
    "scaled_ws_conv/large_eps": _case(kernel_size=(1, 2), eps=9.0, bias=False),  # above K v of some channels
    "scaled_ws_conv/scaled_sum": _case(form="scaled_sum", eps=0.3, padding=((0, 1), (2, 0))),
    "scaled_ws_conv/standard": _case(form="standard", gain=False, eps=0.1, stride=(2, 1)),
    "scaled_ws_conv/no_gain": _case(gain=False, dilation=(1, 2)),
    "scaled_ws_conv/groups_unequal": _case(groups=2, stride=2, padding="same"),
    "scaled_ws_conv/1d": _case(((4, 11),), form="standard", padding=1),
    "scaled_ws_conv/3d": _case(((2, 4, 5, 3),), out_channels=3, kernel_size=(2, 3, 1)),
    "scaled_ws_conv/many_channels": _case(((64, 6, 6),), out_channels=8, padding=1),
}
