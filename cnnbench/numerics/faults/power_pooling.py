"""Faults of power pooling: means for sums, partial windows, signs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call
from cnnbench.numerics.faults.engine.base import Arrays, other_layer, other_outputs
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, suspect_fault
from cnnbench.spec.layers.power_pooling import LpPool

_IMAGE = SuspectNetwork((4, 8, 8))


def _power_mean(layer: Any, inputs: Arrays, outputs: Arrays, call: Call) -> Arrays:
    return (outputs[0] * math.prod(layer.kernel_size) ** (-1 / layer.p),)


FAULTS = (
    suspect_fault(
        "lp_pool.mean_for_sum",
        "the p-norm of a mean and not of a sum",
        LpPool(kernel_size=2),
        other_outputs(_power_mean),
        _IMAGE,
    ),
    suspect_fault(
        "lp_pool.rescaled_partial_window",
        "a window that ceil_mode lets reach over the edge scaled up (PyTorch) where its sum was asked for (ONNX)",
        LpPool(kernel_size=3, stride=2, ceil_mode=True),
        other_layer(lambda layer: replace(layer, rescale_partial=True)),
        _IMAGE,
    ),
    suspect_fault(
        "lp_pool.without_magnitude",
        "odd powers of negative values taken with their sign (PyTorch) where magnitudes were asked for (ONNX)",
        LpPool(kernel_size=2, p=3.0),
        other_layer(lambda layer: replace(layer, absolute=False)),
        _IMAGE,
    ),
)
