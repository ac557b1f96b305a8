"""Sliding windows as shifted slices, which XLA fuses, and when that beats the library's window functions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array, lax

from cnnbench.execution.operations import Call
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.base import Window
from cnnbench.spec.layers.windows import effective_size

MOST_TAPS = 25  # unrolled; beyond, compile time grows for little


def on_host() -> bool:
    """Whether the program that is traced runs on the host's processors."""
    device = jax.config.jax_default_device
    return jax.default_backend() == "cpu" if device is None else device.platform == "cpu"


def unrolls(window: Window) -> bool:
    """Whether a window is better unrolled: on the host, where XLA runs reduce_window and depthwise kernels badly.

    Measured on two cores with JAX 0.10: depthwise convolution takes 0.02 to 0.04 of the library's time, max pooling
    0.15.
    """
    return on_host() and math.prod(window.kernel_size) <= MOST_TAPS


def spatial_axes(call: Call, rank: int) -> tuple[int, ...]:
    """The spatial axes of an operand of this rank."""
    return tuple(call.axis(i, rank) for i in range(2, rank))


def full_padding(
    window: Window, padding: Sequence[tuple[int, int]], spatial: Shape, sizes: Shape
) -> list[tuple[int, int]]:
    """Padding whose end reaches exactly to the end of the last window; a negative end crops.

    Args:
        window: That slides over the image.
        padding: (begin, end) of each spatial axis.
        spatial: The image's spatial sizes.
        sizes: The output's.
    """
    return [
        (begin, (count - 1) * s + effective_size(k, d) - size - begin)
        for (begin, _), count, s, k, d, size in zip(
            padding, sizes, window.stride, window.kernel_size, window.dilation, spatial, strict=True
        )
    ]


def pad_spatial(x: Array, call: Call, padding: Sequence[tuple[int, int]], value: float = 0.0) -> Array:
    """``x`` with its spatial axes surrounded by ``value``; negative numbers crop.

    Args:
        x: (N, C, *spatial) in the layout of ``call``.
        call: With the layout.
        padding: (begin, end) of each spatial axis.
        value: Of the border.
    """
    pairs = call.per_axis(((0, 0), (0, 0), *padding))
    return lax.pad(x, jnp.asarray(value, x.dtype), [(begin, end, 0) for begin, end in pairs])


def cropped(x: Array, call: Call, padding: Sequence[tuple[int, int]]) -> tuple[Array, list[tuple[int, int]]]:
    """The operand without what no window reads, and padding that is nowhere negative.

    The gradient of ``lax.reduce_window`` fails for negative padding: "slice limit_indices must be less than or equal to
    operand shape" (JAX 0.10).

    Args:
        x: (N, C, *spatial) in the layout of ``call``.
        call: With the layout.
        padding: (begin, end) of each spatial axis, of either sign.
    """
    pairs = [(min(begin, 0), min(end, 0)) for begin, end in padding]
    return pad_spatial(x, call, pairs), [(max(begin, 0), max(end, 0)) for begin, end in padding]


@dataclass(frozen=True)
class WindowTaps:
    """The values that each position of a window sees.

    Args:
        x: The operand, padded so that the last window ends where it does.
        call: Says where the spatial axes lie.
        window: The window. sizes: how many windows there are on each spatial axis.
    """

    x: Array
    call: Call
    window: Window
    sizes: Shape

    def __iter__(self) -> Iterator[tuple[Shape, Array]]:
        """(index in the kernel, values of all windows there), in row-major order of the kernel."""
        w = self.window
        for index in itertools.product(*map(range, w.kernel_size)):
            starts = [i * d for i, d in zip(index, w.dilation, strict=True)]
            limits = [b + (n - 1) * s + 1 for b, n, s in zip(starts, self.sizes, w.stride, strict=True)]
            slices = [slice(b, e, s) for b, e, s in zip(starts, limits, w.stride, strict=True)]
            yield index, self.x[self.call.per_axis((slice(None), slice(None), *slices))]
