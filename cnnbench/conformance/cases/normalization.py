"""Normalisation: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import EVEN, ROW, LayerCase
from cnnbench.spec.layers import BatchNorm, ChannelAffine

CASES = {
    "batch_norm/plain": LayerCase(BatchNorm(), EVEN),
    "batch_norm/flat": LayerCase(BatchNorm(), ROW, batch=8),
    "batch_norm/biased": LayerCase(BatchNorm(running_variance="biased", momentum=0.01, eps=1e-3), EVEN),
    "batch_norm/no_affine": LayerCase(BatchNorm(affine=False), EVEN),
    "batch_norm/large_mean": LayerCase(BatchNorm(), EVEN, shift=300.0),
    "batch_norm/small_variance": LayerCase(BatchNorm(), EVEN, scale=0.01),
    "channel_affine/plain": LayerCase(ChannelAffine(), EVEN),
}
