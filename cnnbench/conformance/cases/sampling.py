"""Sampling at points: cases shared by all backends."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.sampling import GridSample


def _beyond(generator: Any, shape: Shape) -> Any:
    """Points within the image and up to its own size outside."""
    return generator.uniform(-2.6, 2.6, shape)


_FIELDS = get_type_hints(GridSample)
_IMAGE: tuple[Shape, ...] = ((3, 5, 7), (4, 6, 2))
_VOLUME: tuple[Shape, ...] = ((2, 3, 4, 5), (2, 3, 4, 3))


def _case(mode: Any, padding: Any, *, align_corners: bool, images: tuple[Shape, ...] = _IMAGE) -> LayerCase:
    layer = GridSample(mode=mode, padding=padding, align_corners=align_corners)
    return LayerCase(layer, images, draws=(None, _beyond))


CASES = {
    **{
        f"grid_sample/{mode}_{padding}{'_corners' if corners else ''}": _case(mode, padding, align_corners=corners)
        for mode in get_args(_FIELDS["mode"])
        for padding in get_args(_FIELDS["padding"])
        for corners in (False, True)
    },
    **{
        f"grid_sample/{mode}_{padding}_3d": _case(mode, padding, align_corners=False, images=_VOLUME)
        for mode, padding in (("linear", "zeros"), ("linear", "reflection"), ("nearest", "border"))
    },
}
