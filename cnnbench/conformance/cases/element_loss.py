"""Losses element by element: cases shared by all backends."""

from __future__ import annotations

from typing import Any

from cnnbench.conformance.cases.case import Draw, LayerCase
from cnnbench.conformance.cases.loss import shares
from cnnbench.spec.composites.element_loss import (
    BCEWithLogitsLoss,
    L1Loss,
    MSELoss,
    SmoothL1Loss,
    VAEDivergence,
)
from cnnbench.spec.layers import Layer, Shape

PLANE: Shape = (3, 4, 5)


def zero_or_one(generator: Any, shape: Shape) -> Any:
    """Labels, or weights that sample."""
    return generator.integers(0, 2, shape).astype(float)


def _pair(layer: Layer, target: Draw | None = None, scale: float = 1.0, *more: Draw) -> LayerCase:
    images = (PLANE, PLANE, *(PLANE for _ in more))
    return LayerCase(layer, images, draws=(None, target, *more), scale=scale)


CASES = {
    "mse_loss/mean": _pair(MSELoss()),
    "mse_loss/none": _pair(MSELoss(reduction="none")),
    "mse_loss/weighted_mean": _pair(MSELoss(reduction="weighted_mean"), None, 1.0, zero_or_one),
    "l1_loss/batch_mean": _pair(L1Loss(reduction="batch_mean")),
    "l1_loss/weighted_sum": _pair(L1Loss(reduction="sum"), None, 1.0, shares),
    "smooth_l1_loss/beta": _pair(SmoothL1Loss(beta=1 / 9)),
    "smooth_l1_loss/none": _pair(SmoothL1Loss(reduction="none")),
    "smooth_l1_loss/huber": _pair(SmoothL1Loss(beta=1.5, form="huber", reduction="sum")),
    "bce_with_logits_loss/large": _pair(BCEWithLogitsLoss(reduction="none"), zero_or_one, 40.0),
    "bce_with_logits_loss/pos_weight": _pair(BCEWithLogitsLoss(pos_weight=3.0), shares),
    "kl_divergence_vae/code": LayerCase(VAEDivergence(), ((8,), (8,))),
    "kl_divergence_vae/near_standard": LayerCase(VAEDivergence(reduction="none"), ((8,), (8,)), scale=0.01),
}
