"""Faults of regions of feature pyramids: levels, suppression, clipping."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.faults.engine.base import Fault, other_layer
from cnnbench.numerics.faults.engine.drawn import Drawn, crowd, normal, on
from cnnbench.spec.composites.pyramid import PyramidProposals, PyramidRoIAlign
from cnnbench.spec.layers import Shape

_LEVEL = (Drawn((20,), normal()), Drawn((20, 4), normal(0.1)), Drawn((20, 4), crowd, batched=False))
_PROPOSALS = PyramidProposals(height=24, width=24, before=16, after=20, iou_threshold=0.5)
_CUT = replace(_PROPOSALS, height=12, width=10)


def _of_all_sizes(generator: np.random.Generator, shape: Shape) -> NDArray[Any]:
    """Boxes from 4 to 60 pixels long, each length as likely as its half."""
    first = generator.uniform(0, 20, (*shape[:-1], 2))
    return np.concatenate([first, first + 2.0 ** generator.uniform(2, 5.9, first.shape)], -1)


_ALIGNED = on(
    PyramidRoIAlign(output_size=2, strides=(4, 8, 16), finest=12.0),
    Drawn((2, 20, 20), normal()),
    Drawn((2, 10, 10), normal()),
    Drawn((2, 5, 5), normal()),
    Drawn((10, 4), _of_all_sizes),
)

FAULTS = (
    Fault(
        "pyramid_roi_align.level_off_by_one",
        "pyramid_roi_align",
        "each region pooled from the level below its own (the canonical level taken as 5 and not 4)",
        _ALIGNED,
        operation=other_layer(lambda layer: replace(layer, finest=layer.finest / 2)),
    ),
    Fault(
        "pyramid_roi_align.first_level",
        "pyramid_roi_align",
        "all regions pooled from the finest level, as before there were pyramids",
        _ALIGNED,
        operation=other_layer(lambda layer: replace(layer, finest=1e6)),
    ),
    Fault(
        "pyramid_roi_align.aligned",
        "pyramid_roi_align",
        "pixel centres half a pixel on, where the weights were trained without",
        _ALIGNED,
        operation=other_layer(lambda layer: replace(layer, aligned=True)),
    ),
    Fault(
        "pyramid_proposals.not_clipped",
        "clip",
        "proposals not clipped to the image",
        on(_CUT, *_LEVEL, *_LEVEL),
        node="suspect.level0.clip.kept0",
        operation=other_layer(lambda layer: replace(layer, minimum=-1e6, maximum=1e6) if layer.minimum == 0 else layer),
    ),
    Fault(
        "pyramid_proposals.threshold_of_detections",
        "non_max_suppression",
        "suppression among proposals with a lower threshold, which was that of the detections",
        on(_PROPOSALS, *_LEVEL, *_LEVEL),
        node="suspect.level0.suppression",
        operation=other_layer(lambda layer: replace(layer, iou_threshold=0.2)),
    ),
)
