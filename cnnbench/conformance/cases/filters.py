"""Fixed filters: cases shared by all backends."""

from __future__ import annotations

from typing import get_args

from cnnbench.conformance.cases.case import EVEN, LayerCase
from cnnbench.spec.composites.filters import BlurPool, Downsample, FilterName, FixedFilter, GaussianBlur
from cnnbench.spec.layers.filters import ConstantFilter

VOLUME = ((2, 3, 4, 5),)
LINE = ((2, 9),)

CASES = {
    "constant_filter/plain": LayerCase(
        ConstantFilter(weights_row_major=(1.0, 2.0, -3.0, 0.0, 0.5, 4.0), kernel_size=(2, 3)), EVEN
    ),
    "constant_filter/integers": LayerCase(
        ConstantFilter(weights_row_major=(1.0, 2.0, -3.0, 0.0, 5.0, 4.0), kernel_size=(3, 2), stride=2), EVEN
    ),
    "constant_filter/strides": LayerCase(
        ConstantFilter(weights_row_major=(0.3, 0.1, -0.7, 0.2), kernel_size=(2, 2), stride=(1, 3)), EVEN
    ),
    "constant_filter/row": LayerCase(
        ConstantFilter(weights_row_major=(0.3, 0.1, -0.7), kernel_size=(3,), stride=4), LINE
    ),
    "constant_filter/volume": LayerCase(
        ConstantFilter(weights_row_major=(0.3, 0.1, -0.7, 0.2), kernel_size=(2, 1, 2), stride=(1, 2, 1)), VOLUME
    ),
    "constant_filter/zero": LayerCase(ConstantFilter(weights_row_major=(0.0, 0.0), kernel_size=(1, 2)), EVEN, batch=1),
    **{f"fixed_filter/{name}": LayerCase(FixedFilter(filter=name), EVEN) for name in get_args(FilterName)},
    "fixed_filter/valid": LayerCase(FixedFilter(filter="sobel_x", padding="valid", stride=(2, 1)), EVEN),
    "fixed_filter/reflected": LayerCase(FixedFilter(filter="gaussian_blur", size=4, padding_mode="reflect"), EVEN),
    "fixed_filter/row": LayerCase(FixedFilter(filter="finite_difference", padding_mode="edge"), LINE),
    "fixed_filter/volume": LayerCase(FixedFilter(filter="box_blur", size=2, padding_mode="wrap"), VOLUME, batch=1),
    "gaussian_blur/plain": LayerCase(GaussianBlur(size=5, sigma=1.3), EVEN),
    "gaussian_blur/even": LayerCase(GaussianBlur(size=4, padding_mode="constant"), EVEN),
    "gaussian_blur/row": LayerCase(GaussianBlur(), LINE),
    **{f"blur_pool/{size}": LayerCase(BlurPool(filter_size=size), EVEN) for size in (1, 2, 3, 4, 5, 7)},
    "blur_pool/strides": LayerCase(BlurPool(filter_size=4, stride=(1, 3), padding_mode="symmetric"), EVEN),
    "blur_pool/volume": LayerCase(BlurPool(), VOLUME, batch=1),
    **{
        f"downsample/{method}": LayerCase(Downsample(method=method, factor=(2, 3)), EVEN)
        for method in ("decimate", "average", "blur")
    },
}
