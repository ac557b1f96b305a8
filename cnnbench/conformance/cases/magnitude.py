"""Normalisation by magnitude: cases shared by all backends."""

from __future__ import annotations

from typing import Any

from cnnbench.conformance.cases.case import EVEN, ROW, LayerCase
from cnnbench.spec.composites.magnitude import WithinChannelResponseNorm
from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.magnitude import FilterResponseNorm, LocalResponseNorm, LpNorm, RMSNorm

DEEP = ((9, 4, 5),)


def _strong(images: tuple[Shape, ...] = DEEP, batch: int = 2, **fields: Any) -> LayerCase:
    """With an alpha at which the sum shows: at the default of 1e-4 it hardly does."""
    return LayerCase(LocalResponseNorm(**{"alpha": 0.5, **fields}), images, batch)


CASES = {
    "within_channel_response_norm/cifar": LayerCase(WithinChannelResponseNorm(), EVEN, scale=30.0),
    "within_channel_response_norm/strong": LayerCase(WithinChannelResponseNorm(size=5, alpha=0.5), EVEN),
    "local_response_norm/default": LayerCase(LocalResponseNorm(), DEEP, scale=30.0),
    "local_response_norm/alexnet": LayerCase(LocalResponseNorm(k=2.0, alpha_divided_by_size=False), DEEP, scale=100.0),
    "local_response_norm/strong": _strong(),
    "local_response_norm/undivided": _strong(size=3, alpha_divided_by_size=False),
    "local_response_norm/even_before": _strong(size=4),
    "local_response_norm/even_after": _strong(size=4, even_window="after"),
    "local_response_norm/wider_than_channels": _strong(EVEN, size=11),
    "local_response_norm/own_channel": LayerCase(LocalResponseNorm(size=1, alpha=0.7, beta=0.5, k=0.5), EVEN),
    "local_response_norm/power_one": LayerCase(LocalResponseNorm(size=5, alpha=2.0, beta=1.0, k=2.0), DEEP),
    "local_response_norm/1d": _strong(((6, 7),)),
    "local_response_norm/3d": _strong(((5, 2, 3, 4),), 1, size=3),
    "local_response_norm/row": _strong(ROW),
    "rms_norm/tokens": LayerCase(RMSNorm(), ((7, 12),)),
    "rms_norm/image": LayerCase(RMSNorm(start_axis=1, eps=1e-3), EVEN),
    "rms_norm/no_affine": LayerCase(RMSNorm(affine=False), ROW),
    "rms_norm/shifted": LayerCase(RMSNorm(), ((7, 12),), shift=2.0),
    "rms_norm/small": LayerCase(RMSNorm(eps=1e-5), ((7, 12),), scale=0.003),
    "filter_response_norm/plain": LayerCase(FilterResponseNorm(), EVEN),
    "filter_response_norm/eps": LayerCase(FilterResponseNorm(eps=1e-3), EVEN, scale=0.05),
    "filter_response_norm/1d": LayerCase(FilterResponseNorm(), ((4, 9),), shift=1.0),
    "filter_response_norm/3d": LayerCase(FilterResponseNorm(), ((3, 2, 4, 3),), batch=1),
    "lp_normalization/euclidean": LayerCase(LpNorm(), EVEN),
    "lp_normalization/sum": LayerCase(LpNorm(p=1), EVEN),
    "lp_normalization/last": LayerCase(LpNorm(axis=-1), ((3, 7),)),
    "lp_normalization/sum_last": LayerCase(LpNorm(p=1, axis=-1), EVEN),
    "lp_normalization/row": LayerCase(LpNorm(), ROW),
    "lp_normalization/floor": LayerCase(LpNorm(eps=2.0), EVEN),  # some norms lie below it, some above
}
