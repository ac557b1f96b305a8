"""Where the maxima of max pooling lie: the second output of ONNX's MaxPool, which unpooling reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.base import Dtypes, Example, Shapes, require_one_of
from cnnbench.spec.layers.pooling import WindowPool
from cnnbench.spec.layers.windows import require_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Places(NamedTuple):
    """For each window in row-major order, its taps in row-major order.

    Args:
        taken: The row-major position of each tap in the image, 0 where it lies in the padding.
        inside: Whether it lies in the image.
        numbers: What the tap is called in the result: its position, in the order that the layer asks for.
    """

    taken: NDArray[Any]
    inside: NDArray[Any]
    numbers: NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class MaxPoolPositions(WindowPool, kind="max_pool_positions"):
    """The position of the first maximum, in row-major order, of each window of max pooling, as an integer.

    Args:
        kernel_size, stride, padding, dilation, ceil_mode: As ``max_pool``.
        counted: Within ``"image"``, each channel of each image for itself (PyTorch), or within the whole ``"tensor"``
            (N, C, *spatial) (ONNX).
        order: Whether positions of an image are counted by ``"rows"`` (the last axis fastest) or by ``"columns"``
            (the first spatial axis fastest; ONNX's storage_order 1).

    Shapes:
        (N, C, *spatial) -> (N, C, *out), out as ``max_pool``. NaN is no maximum.

    Source: ONNX's MaxPool, output ``Indices``; PyTorch's ``return_indices``.
    """

    counted: Literal["image", "tensor"] = "image"
    order: Literal["rows", "columns"] = "rows"

    example = Example((1, 4, 6, 6), kernel_size=2)
    layout_rule = "canonical"  # type: ignore[assignment]  # mypy takes the pools' value for their type
    differentiable = False

    def resolve(self, inputs: Shapes) -> Self:
        require_one_of(self.counted, "counted", ("image", "tensor"))
        require_one_of(self.order, "order", ("rows", "columns"))
        return super().resolve(inputs)

    def output_dtypes(self, inputs: Dtypes, count: int) -> Dtypes:
        return ("int",)

    def places(self, source: Shape) -> Places:
        """The taps of every window of an input of this shape. The layer is resolved."""
        return _places(self, source[2:], self.output_shapes((source,))[0][2:])


@lru_cache(maxsize=64)
def _places(layer: MaxPoolPositions, spatial: Shape, out: Shape) -> Places:
    import numpy as np

    window = layer.window()
    rank = len(spatial)
    inside: Any = np.ones((1,) * 2 * rank, bool)
    taken: Any = np.zeros((1,) * 2 * rank, np.int64)
    numbers: Any = np.zeros((1,) * 2 * rank, np.int64)
    for axis, (begin, _) in enumerate(require_pairs(layer.padding)):
        starts = np.arange(out[axis]) * window.stride[axis] - begin
        at = starts[:, None] + np.arange(window.kernel_size[axis]) * window.dilation[axis]
        shape = [1] * 2 * rank
        shape[axis], shape[rank + axis] = at.shape
        at = at.reshape(shape)
        inside = inside & (at >= 0) & (at < spatial[axis])
        row, column = math.prod(spatial[axis + 1 :]), math.prod(spatial[:axis])
        taken = taken + at * row
        numbers = numbers + at * (row if layer.order == "rows" else column)
    windows = math.prod(out)
    taken, numbers = (np.broadcast_to(array, inside.shape).reshape(windows, -1) for array in (taken, numbers))
    inside = inside.reshape(windows, -1)
    return Places(np.where(inside, taken, 0), inside, numbers.copy())
