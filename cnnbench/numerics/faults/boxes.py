"""Faults of encoded boxes: limits and scales."""

from __future__ import annotations

from dataclasses import replace

from cnnbench.numerics.faults.engine.base import Fault, other_layer
from cnnbench.numerics.faults.engine.drawn import Drawn, boxes, normal, on
from cnnbench.spec.composites.boxes import BoxDecode, BoxEncode

_HEAD = (10.0, 10.0, 5.0, 5.0)


FAULTS = (
    Fault(
        "box_decode.clip_missing",
        "box_decode",
        "the logarithms of sizes not limited, so that one box overflows",
        on(BoxDecode(), Drawn((6, 4), normal(6.0)), Drawn((6, 4), boxes(36.0))),
        operation=other_layer(lambda layer: replace(layer, largest_growth=None)),
    ),
    Fault(
        "box_decode.scales_ignored",
        "box_decode",
        "deltas of a head trained with scales (10, 10, 5, 5) decoded as if they were 1",
        on(BoxDecode(scales=_HEAD), Drawn((6, 4), normal()), Drawn((6, 4), boxes(36.0))),
        operation=other_layer(lambda layer: replace(layer, scales=(1.0, 1.0, 1.0, 1.0))),
    ),
    Fault(
        "box_encode.scales_swapped",
        "box_encode",
        "the scales of centres and of sizes exchanged",
        on(BoxEncode(scales=_HEAD), Drawn((6, 4), boxes(36.0)), Drawn((6, 4), boxes(36.0))),
        operation=other_layer(lambda layer: replace(layer, scales=(*layer.scales[2:], *layer.scales[:2]))),
    ),
)
