"""Pooling: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import EVEN, SQUARE, LayerCase
from cnnbench.spec.composites import TrainableSubsample
from cnnbench.spec.layers import AdaptiveAvgPool, AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool, Subsample
from cnnbench.spec.layers.pooling import MinPool

VOLUME = ((2, 4, 5, 6),)
LARGE_IN_PADDING = ((2, 7, 8),)  # with k = 2, s = 3, p = 1 the last window would start in the padding and is dropped

CASES = {
    "max_pool/plain": LayerCase(MaxPool(kernel_size=2), EVEN),
    "max_pool/overlapping": LayerCase(MaxPool(kernel_size=3, stride=2, padding=1), EVEN),
    "max_pool/asymmetric": LayerCase(MaxPool(kernel_size=3, stride=2, padding="same"), EVEN),
    "max_pool/negative": LayerCase(MaxPool(kernel_size=3, stride=2, padding=1), EVEN, shift=-9.0),
    "max_pool/ceil_mode": LayerCase(MaxPool(kernel_size=3, stride=2, ceil_mode=True), EVEN),
    "max_pool/ceil_mode_drops": LayerCase(
        MaxPool(kernel_size=2, stride=3, padding=1, ceil_mode=True), LARGE_IN_PADDING
    ),
    "max_pool/ceil_mode_asymmetric": LayerCase(
        MaxPool(kernel_size=3, stride=(2, 3), padding=((1, 0), (0, 1)), ceil_mode=True), EVEN
    ),
    "max_pool/strides_differ": LayerCase(MaxPool(kernel_size=(3, 2), stride=(1, 2), padding=((1, 0), (0, 1))), EVEN),
    "max_pool/dilated": LayerCase(MaxPool(kernel_size=2, dilation=(2, 3), stride=(1, 2), padding=1), EVEN),
    "max_pool/same_lower": LayerCase(MaxPool(kernel_size=(2, 3), stride=2, padding="same_lower"), EVEN),
    "max_pool/size_one": LayerCase(MaxPool(kernel_size=(1, 3), stride=(2, 3)), ((3, 1, 7),)),
    "max_pool/stride_beyond_kernel": LayerCase(MaxPool(kernel_size=2, stride=(3, 5)), EVEN),
    "max_pool/1d": LayerCase(MaxPool(kernel_size=3, stride=2, padding=((1, 0),)), ((3, 11),)),
    "max_pool/3d": LayerCase(
        MaxPool(kernel_size=(2, 3, 1), stride=(1, 2, 2), padding=((1, 0), (0, 1), (0, 0))), VOLUME
    ),
    "max_pool/3d_rest_left_over": LayerCase(
        MaxPool(kernel_size=3, stride=3, padding=((2, 0), (2, 0), (0, 1))), ((2, 1, 3, 2),)
    ),
    "max_pool/3d_padding_of_dilated": LayerCase(
        MaxPool(kernel_size=(1, 1, 3), stride=1, dilation=(1, 1, 2), padding=((0, 0), (0, 0), (2, 2))), VOLUME
    ),
    "max_pool/no_images": LayerCase(MaxPool(kernel_size=3, stride=2, padding=1), EVEN, batch=0),
    "min_pool/plain": LayerCase(MinPool(kernel_size=2), EVEN),
    "min_pool/positive": LayerCase(MinPool(kernel_size=3, stride=2, padding=1), EVEN, shift=9.0),
    "min_pool/asymmetric": LayerCase(MinPool(kernel_size=(3, 2), stride=(1, 2), padding=((1, 0), (0, 1))), EVEN),
    "min_pool/ceil_mode": LayerCase(MinPool(kernel_size=3, stride=2, ceil_mode=True), EVEN),
    "min_pool/dilated": LayerCase(MinPool(kernel_size=2, dilation=(2, 3), stride=1), EVEN),
    "min_pool/1d": LayerCase(MinPool(kernel_size=3, stride=2, padding=((1, 0),)), ((3, 11),)),
    "min_pool/3d": LayerCase(MinPool(kernel_size=(2, 3, 1), stride=(1, 2, 2)), VOLUME),
    "min_pool/no_images": LayerCase(MinPool(kernel_size=2), EVEN, batch=0),
    "avg_pool/ceil_mode_drops": LayerCase(
        AvgPool(kernel_size=2, stride=3, padding=1, ceil_mode=True), LARGE_IN_PADDING
    ),
    "avg_pool/ceil_mode_padded": LayerCase(AvgPool(kernel_size=3, stride=2, padding=1, ceil_mode=True), EVEN),
    "avg_pool/ceil_mode_padding_does_not": LayerCase(
        AvgPool(kernel_size=3, stride=(3, 2), padding=((1, 0), (0, 1)), ceil_mode=True, count_include_pad=False), EVEN
    ),
    "avg_pool/asymmetric": LayerCase(AvgPool(kernel_size=(3, 2), stride=(1, 2), padding=((1, 0), (0, 1))), EVEN),
    "avg_pool/same": LayerCase(AvgPool(kernel_size=3, stride=2, padding="same", count_include_pad=False), EVEN),
    "avg_pool/same_lower": LayerCase(AvgPool(kernel_size=(2, 3), stride=2, padding="same_lower"), EVEN),
    "avg_pool/size_one": LayerCase(AvgPool(kernel_size=(1, 3), stride=(2, 3)), ((3, 1, 7),)),
    "avg_pool/stride_beyond_kernel": LayerCase(AvgPool(kernel_size=2, stride=(3, 5)), EVEN),
    "avg_pool/1d": LayerCase(AvgPool(kernel_size=3, stride=2, padding=((1, 0),)), ((3, 11),)),
    "avg_pool/3d": LayerCase(
        AvgPool(kernel_size=(2, 3, 1), stride=(1, 2, 2), padding=((1, 0), (0, 1), (0, 0))), VOLUME
    ),
    "avg_pool/3d_rest_left_over": LayerCase(
        AvgPool(kernel_size=3, stride=3, padding=((2, 0), (2, 0), (0, 1))), ((2, 1, 3, 2),)
    ),
    "avg_pool/3d_padding_makes_it_fit": LayerCase(
        AvgPool(kernel_size=(1, 2, 3), stride=1, padding=((0, 0), (1, 1), (1, 1))), ((2, 2, 1, 1),)
    ),
    "avg_pool/no_images": LayerCase(AvgPool(kernel_size=3, stride=2, padding=1), EVEN, batch=0),
    "avg_pool/plain": LayerCase(AvgPool(kernel_size=2), EVEN),
    "avg_pool/padding_counts": LayerCase(AvgPool(kernel_size=3, stride=2, padding=1), EVEN),
    "avg_pool/padding_does_not": LayerCase(AvgPool(kernel_size=3, stride=2, padding=1, count_include_pad=False), EVEN),
    "avg_pool/ceil_mode": LayerCase(AvgPool(kernel_size=3, stride=2, ceil_mode=True), EVEN),
    "avg_pool/sum": LayerCase(AvgPool(kernel_size=2, divisor=1), EVEN),
    "global_avg_pool/flat": LayerCase(GlobalAvgPool(), EVEN),
    "global_avg_pool/kept": LayerCase(GlobalAvgPool(keep_spatial=True), EVEN),
    "global_max_pool/flat": LayerCase(GlobalMaxPool(), EVEN),
    "adaptive_avg_pool/uneven": LayerCase(AdaptiveAvgPool(output_size=(3, 4)), SQUARE),
    "adaptive_avg_pool/longer": LayerCase(AdaptiveAvgPool(output_size=(7, 3)), ((3, 3, 8),)),
    "adaptive_avg_pool/no_images": LayerCase(AdaptiveAvgPool(output_size=(3, 4)), SQUARE, batch=0),
    "global_max_pool/no_images": LayerCase(GlobalMaxPool(), EVEN, batch=0),
    "subsample/stride": LayerCase(Subsample(stride=2), SQUARE),
    "trainable_subsample/plain": LayerCase(TrainableSubsample(), EVEN),
}
