"""Resizing: cases shared by all backends, in every convention and on sizes that some framework gets wrong."""

from __future__ import annotations

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.spec.composites.resize import Upsample
from cnnbench.spec.layers.resize import COORDINATES, ROUNDINGS, Resize

IMAGE = ((2, 5, 4),)
LARGE = ((2, 11, 9),)
ROW = ((2, 7),)
VOLUME = ((2, 3, 4, 5),)

CASES = {
    **{
        f"resize/nearest_{coordinates}_{rounding}": LayerCase(
            Resize(size=(9, 3), coordinates=coordinates, nearest_rounding=rounding), IMAGE
        )
        for coordinates in COORDINATES
        for rounding in ROUNDINGS
    },
    **{
        f"resize/{mode}_{coordinates}": LayerCase(Resize(size=(9, 3), mode=mode, coordinates=coordinates), IMAGE)
        for mode in ("linear", "cubic")
        for coordinates in COORDINATES
    },
    **{
        f"resize/{mode}_{coordinates}_fraction": LayerCase(
            Resize(scale=(2.3, 0.7), mode=mode, coordinates=coordinates, nearest_rounding="floor"), LARGE
        )
        for mode in ("nearest", "linear", "cubic")
        for coordinates in COORDINATES
    },
    **{
        f"resize/{mode}_antialias_{'excluded' if excluded else 'repeated'}": LayerCase(
            Resize(size=(4, 7), mode=mode, cubic_coefficient=-0.5, antialias=True, exclude_outside=excluded), LARGE
        )
        for mode in ("linear", "cubic")
        for excluded in (False, True)
    },
    "resize/nearest_twice": LayerCase(Resize(scale=2.0, nearest_rounding="round_prefer_ceil"), IMAGE),
    "resize/nearest_half": LayerCase(Resize(size=(4, 5), coordinates="asymmetric"), ((3, 8, 10),)),
    "resize/nearest_41_times": LayerCase(
        Resize(size=(82, 6), coordinates="asymmetric", nearest_rounding="floor"), ((1, 2, 2),)
    ),
    "resize/nearest_row": LayerCase(Resize(size=12), ROW),
    "resize/nearest_volume": LayerCase(Resize(size=(5, 2, 10)), VOLUME, batch=1),
    "resize/linear_row": LayerCase(Resize(size=12, mode="linear"), ROW),
    "resize/linear_row_aligned": LayerCase(Resize(size=3, mode="linear", coordinates="align_corners"), ROW),
    "resize/linear_volume": LayerCase(Resize(size=(5, 2, 10), mode="linear"), VOLUME, batch=1),
    "resize/linear_twice": LayerCase(Resize(scale=2.0, mode="linear"), IMAGE),
    "resize/linear_9_to_17_4_to_20": LayerCase(Resize(size=(17, 20), mode="linear"), ((1, 9, 4),)),
    "resize/linear_10_to_18_5_to_9": LayerCase(Resize(size=(18, 9), mode="linear"), ((1, 10, 5),)),
    "resize/linear_to_one": LayerCase(Resize(size=(1, 4), mode="linear", coordinates="pytorch_half_pixel"), IMAGE),
    "resize/linear_from_one": LayerCase(Resize(size=(3, 6), mode="linear"), ((2, 1, 4),)),
    "resize/linear_recomputed": LayerCase(Resize(scale=(2.3, 0.7), mode="linear", recompute_scale=True), LARGE),
    **{
        f"resize/{mode}_size_and_scale": LayerCase(Resize(size=(12, 16), scale=(2.3, 3.1), mode=mode), IMAGE)
        for mode in ("nearest", "linear", "cubic")
    },
    "resize/linear_large_mean": LayerCase(Resize(size=(13, 6), mode="linear"), LARGE, shift=100.0),
    "resize/cubic_row": LayerCase(Resize(size=12, mode="cubic"), ROW),
    "resize/cubic_volume": LayerCase(Resize(size=(5, 2, 7), mode="cubic"), VOLUME, batch=1),
    "resize/cubic_excluded": LayerCase(
        Resize(size=(9, 3), mode="cubic", cubic_coefficient=-0.5, exclude_outside=True), IMAGE
    ),
    "upsample/nearest": LayerCase(Upsample(scale=2.0), IMAGE),
    "upsample/nearest-exact": LayerCase(Upsample(size=(7, 6), mode="nearest-exact"), IMAGE),
    "upsample/linear": LayerCase(Upsample(scale=2.0, mode="linear"), VOLUME, batch=1),
    "upsample/bilinear": LayerCase(Upsample(scale=(2.0, 3.0), mode="bilinear"), IMAGE),
    "upsample/bilinear_aligned": LayerCase(Upsample(scale=2.0, mode="bilinear", align_corners=True), IMAGE),
    "upsample/bicubic": LayerCase(Upsample(scale=1.5, mode="bicubic"), IMAGE),
    "upsample/bicubic_aligned": LayerCase(Upsample(size=(7, 6), mode="bicubic", align_corners=True), IMAGE),
}
