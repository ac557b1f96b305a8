"""Faults of convolutions with a standardised weight: variance, gain, epsilon, scale."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cnnbench.numerics.faults.engine.base import Fault, dropped, other_layer, other_weights
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.spec.layers.weight_standardization import ScaledWSConv

_IMAGE = SuspectNetwork((4, 5, 5))
_STANDARDISED = surrounded(ScaledWSConv(out_channels=4, kernel_size=2), _IMAGE)


def _unbiased(layer: ScaledWSConv, array: Any) -> Any:
    """A gain of sqrt((K - 1) / K) is what dividing by the unbiased variance comes to."""
    count = 4 * 2 * 2  # of _STANDARDISED
    return array * array.dtype.type(np.sqrt((count - 1) / count))


def _standardised(name: str, description: str, case: Any, operation: Any) -> Fault:
    return Fault(f"scaled_ws_conv.{name}", "scaled_ws_conv", description, case, operation=operation)


FAULTS = (
    *dropped(ScaledWSConv(out_channels=4, kernel_size=2), _STANDARDISED, {"bias": "bias"}),
    _standardised(
        "unbiased_variance",
        "the variance divided by K - 1 (torch.var and torch.std by default) where K was meant",
        _STANDARDISED,
        other_weights(lambda layer, name, array: _unbiased(layer, array) if name == "gain" else array),
    ),
    _standardised(
        "no_gain",
        "the gain left out",
        _STANDARDISED,
        other_weights(lambda layer, name, array: np.ones_like(array) if name == "gain" else array),
    ),
    _standardised(
        "eps_added",
        "epsilon added to the variance (timm) where it is a lower limit of K times it (NFNets' own code)",
        surrounded(ScaledWSConv(out_channels=4, kernel_size=2, eps=1e-3), _IMAGE),
        other_layer(lambda layer: replace(layer, form="scaled_sum")),
    ),
    _standardised(
        "no_floor",
        "no lower limit of the variance, which filters that are nearly alike in all weights come to need",
        _STANDARDISED,
        other_layer(lambda layer: replace(layer, eps=1e-12)),
    ),
    _standardised(
        "unscaled",
        "plain weight standardisation, without the division by the root of K",
        _STANDARDISED,
        other_layer(lambda layer: replace(layer, form="standard")),
    ),
)
