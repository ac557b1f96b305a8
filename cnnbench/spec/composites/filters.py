"""Fixed filters given by their names; blurring before subsampling."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.base import Example, Layer, Shapes, require_int, require_one_of, require_rank
from cnnbench.spec.layers.filters import ConstantFilter
from cnnbench.spec.layers.padding import PAD_MODES, Pad, PadMode
from cnnbench.spec.layers.pooling import AvgPool, Subsample
from cnnbench.spec.layers.windows import PerAxis, per_axis

FilterName = Literal[
    "identity", "finite_difference", "finite_difference_y", "vertical_edge", "horizontal_edge", "sobel_x", "sobel_y",
    "sharpen", "emboss", "box_blur", "gaussian_blur",
]  # fmt: skip
Row = tuple[float, ...]

# Rows of the kernels, which are correlated with the image as they stand here, not flipped.
_KERNELS: dict[str, tuple[Row, ...]] = {
    "finite_difference": ((1.0, -1.0),),
    "finite_difference_y": ((1.0,), (-1.0,)),
    "vertical_edge": ((1.0, 0.0, -1.0),) * 3,
    "horizontal_edge": ((1.0,) * 3, (0.0,) * 3, (-1.0,) * 3),
    "sobel_x": ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0)),
    "sobel_y": ((-1.0, -2.0, -1.0), (0.0, 0.0, 0.0), (1.0, 2.0, 1.0)),
    "sharpen": ((0.0, -1.0, 0.0), (-1.0, 5.0, -1.0), (0.0, -1.0, 0.0)),
    "emboss": ((-2.0, -1.0, 0.0), (-1.0, 1.0, 1.0), (0.0, 1.0, 2.0)),
}


@dataclass(frozen=True, kw_only=True)
class FixedFilter(Composite, kind="fixed_filter"):
    """A classic filter on every channel, as cross-correlation: kernels are not flipped.

    Args:
        filter: ``finite_difference`` [1, -1] along the last axis, ``finite_difference_y`` along the first;
            ``vertical_edge`` rows 1 0 -1, ``horizontal_edge`` its transpose (Prewitt's operator); ``sobel_x`` rows
            -1 0 1, -2 0 2, -1 0 1, ``sobel_y`` its transpose; ``sharpen`` 5 amid -1 at four sides; ``emboss`` rows
            -2 -1 0, -1 1 1, 0 1 2; ``box_blur`` the mean; ``gaussian_blur``; ``identity``. The first four difference
            along an axis and the last three exist for any number of axes, the others for images.
        size: Of ``box_blur``, ``gaussian_blur`` and ``identity`` along each axis.
        sigma: Of ``gaussian_blur``, in pixels; None: 0.3 ((size - 1) / 2 - 1) + 0.8 (OpenCV's).
        stride: For each spatial axis.
        padding: ``same``: size - 1 values an axis, of an odd number the larger half at the end; ``valid``: none.
        padding_mode: Where those come from, as in ``Pad``.

    Shapes:
        (N, C, *spatial) -> (N, C, *ceil(spatial / stride)) for ``same``.
    """

    filter: FilterName
    size: int = 3
    sigma: float | None = None
    stride: PerAxis = 1
    padding: Literal["same", "valid"] = "same"
    padding_mode: PadMode = "constant"

    example = Example((1, 4, 6, 6), filter="sobel_x")

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], "fixed_filter", least=3, most=5)
        require_one_of(self.filter, "filter", get_args(FilterName))
        require_one_of(self.padding, "padding", ("same", "valid"))
        require_one_of(self.padding_mode, "padding_mode", PAD_MODES)
        require_int(self.size, "size", least=1)
        if self.sigma is not None and self.sigma <= 0:
            raise FieldError("sigma", received=self.sigma, expected="a positive number")
        self._kernel(len(inputs[0]) - 2)
        return self

    def _kernel(self, num: int) -> tuple[Shape, Row]:
        """The kernel's size and its weights in row-major order."""
        if self.filter not in _KERNELS:
            row = self._row()
            return (len(row),) * num, _outer(row, num)
        rows = _KERNELS[self.filter]
        if self.filter == "finite_difference":
            return (*(1,) * (num - 1), 2), rows[0]
        if self.filter == "finite_difference_y":
            return (2, *(1,) * (num - 1)), (1.0, -1.0)
        if num != 2:
            raise SpecError(f"{self.filter} is a filter of images", received=f"{num} spatial axes", expected="2")
        return (len(rows), len(rows[0])), tuple(w for row in rows for w in row)

    def _row(self) -> Row:
        if self.filter == "gaussian_blur":
            return gaussian_row(self.size, self.sigma)
        if self.filter == "box_blur":
            return (1 / self.size,) * self.size
        return tuple(1.0 if i == (self.size - 1) // 2 else 0.0 for i in range(self.size))

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        size, weights = self._kernel(len(inputs[0].shape) - 2)
        x = inputs[0]
        if self.padding == "same":
            x = _padded(builder, x, size, self.padding_mode)
        layer = ConstantFilter(weights_row_major=weights, kernel_size=size, stride=self.stride)
        return builder.add("filter", layer, x)


@dataclass(frozen=True, kw_only=True)
class GaussianBlur(Composite, kind="gaussian_blur"):
    """A Gaussian filter along one axis after another, which is as good as the whole kernel at once and cheaper.

    Args:
        size, sigma: As in ``FixedFilter``: w(i) proportional to exp(-(i - (size - 1) / 2)^2 / (2 sigma^2)), sum one.
        padding_mode: As in ``Pad``; the image keeps its size.

    Shapes:
        (N, C, *spatial) -> the same. Source: torchvision's and OpenCV's GaussianBlur, which reflect at the edge.
    """

    size: int = 3
    sigma: float | None = None
    padding_mode: PadMode = "reflect"

    def resolve(self, inputs: Shapes) -> Self:
        FixedFilter(filter="gaussian_blur", size=self.size, sigma=self.sigma, padding_mode=self.padding_mode).resolve(
            inputs
        )
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        num, row = len(inputs[0].shape) - 2, gaussian_row(self.size, self.sigma)
        x = _padded(builder, inputs[0], (self.size,) * num, self.padding_mode)
        for axis in range(num):
            size = tuple(self.size if i == axis else 1 for i in range(num))
            x = builder.add(f"filter{axis}", ConstantFilter(weights_row_major=row, kernel_size=size), x)
        return x


@dataclass(frozen=True, kw_only=True)
class BlurPool(Composite, kind="blur_pool"):
    """Subsampling that does not alias: a binomial filter, of which every stride-th value is kept.

    Args:
        filter_size: Of the kernel, whose row are binomial coefficients over their sum (3: 1 2 1 over 4).
        stride: How many positions lie between kept ones.
        padding_mode: As in ``Pad``; filter_size - 1 values an axis, of an odd number the larger half at the end.

    Shapes:
        (N, C, *spatial) -> (N, C, *ceil(spatial / stride)). Source: Zhang 2019 (arXiv:1904.11486) and its code.
    """

    filter_size: int = 3
    stride: PerAxis = 2
    padding_mode: PadMode = "reflect"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], "blur_pool", least=3, most=5)
        require_int(self.filter_size, "filter_size", least=1)
        return replace(self, stride=per_axis(self.stride, len(inputs[0]) - 2, "stride", least=1))

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        num, last = len(inputs[0].shape) - 2, self.filter_size - 1
        row = tuple(math.comb(last, i) / 2**last for i in range(self.filter_size))
        size = (self.filter_size,) * num
        x = _padded(builder, inputs[0], size, self.padding_mode)
        layer = ConstantFilter(weights_row_major=_outer(row, num), kernel_size=size, stride=self.stride)
        return builder.add("filter", layer, x)


@dataclass(frozen=True, kw_only=True)
class Downsample(Composite, kind="downsample"):
    """A smaller image by a whole factor.

    Args:
        factor: For each spatial axis.
        method: ``decimate`` keeps every factor-th pixel, ``average`` the mean of each block, ``blur`` is ``BlurPool``.
        filter_size: Of ``blur``.

    Shapes:
        (N, C, *spatial) -> (N, C, *ceil(spatial / factor)), for ``average`` floor.
    """

    factor: PerAxis = 2
    method: Literal["decimate", "average", "blur"] = "blur"
    filter_size: int = 3

    def resolve(self, inputs: Shapes) -> Self:
        require_one_of(self.method, "method", ("decimate", "average", "blur"))
        return replace(self, factor=per_axis(self.factor, len(inputs[0]) - 2, "factor", least=1))

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        layers: dict[str, Layer] = {
            "decimate": Subsample(stride=self.factor),
            "average": AvgPool(kernel_size=self.factor),
            "blur": BlurPool(filter_size=self.filter_size, stride=self.factor),
        }
        return builder.add(self.method, layers[self.method], inputs[0])


def gaussian_row(size: int, sigma: float | None) -> Row:
    """A Gaussian's values around the middle of ``size`` pixels, scaled to sum to one."""
    width = 0.3 * ((size - 1) / 2 - 1) + 0.8 if sigma is None else sigma
    values = [math.exp(-(((i - (size - 1) / 2) / width) ** 2) / 2) for i in range(size)]
    total = math.fsum(values)
    return tuple(value / total for value in values)


def _outer(row: Row, num: int) -> Row:
    """The products of a row with itself over all axes, row-major."""
    weights: Row = (1.0,)
    for _ in range(num):
        weights = tuple(w * factor for w in weights for factor in row)
    return weights


def _padded(builder: Builder, x: Value, size: Shape, mode: PadMode) -> Value:
    """``x`` with size - 1 values more along each axis."""
    pairs = tuple(((n - 1) // 2, n // 2) for n in size)
    return builder.add("pad", Pad(padding=((0, 0), *pairs), mode=mode), x)
