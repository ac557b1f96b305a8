"""Pooling: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import EVEN, SQUARE, LayerCase
from cnnbench.spec.layers import (
    AdaptiveAvgPool,
    AvgPool,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
    Subsample,
    TrainableSubsample,
)

CASES = {
    "max_pool/plain": LayerCase(MaxPool(kernel_size=2), EVEN),
    "max_pool/overlapping": LayerCase(MaxPool(kernel_size=3, stride=2, padding=1), EVEN),
    "max_pool/asymmetric": LayerCase(MaxPool(kernel_size=3, stride=2, padding="same"), EVEN),
    "max_pool/negative": LayerCase(MaxPool(kernel_size=3, stride=2, padding=1), EVEN, shift=-9.0),
    "max_pool/ceil_mode": LayerCase(MaxPool(kernel_size=3, stride=2, ceil_mode=True), EVEN),
    "avg_pool/plain": LayerCase(AvgPool(kernel_size=2), EVEN),
    "avg_pool/padding_counts": LayerCase(AvgPool(kernel_size=3, stride=2, padding=1), EVEN),
    "avg_pool/padding_does_not": LayerCase(AvgPool(kernel_size=3, stride=2, padding=1, count_include_pad=False), EVEN),
    "avg_pool/ceil_mode": LayerCase(AvgPool(kernel_size=3, stride=2, ceil_mode=True), EVEN),
    "avg_pool/sum": LayerCase(AvgPool(kernel_size=2, divisor=1), EVEN),
    "global_avg_pool/flat": LayerCase(GlobalAvgPool(), EVEN),
    "global_avg_pool/kept": LayerCase(GlobalAvgPool(keep_spatial=True), EVEN),
    "global_max_pool/flat": LayerCase(GlobalMaxPool(), EVEN),
    "adaptive_avg_pool/uneven": LayerCase(AdaptiveAvgPool(output_size=(3, 4)), SQUARE),
    "subsample/stride": LayerCase(Subsample(stride=2), SQUARE),
    "trainable_subsample/plain": LayerCase(TrainableSubsample(), EVEN),
}
