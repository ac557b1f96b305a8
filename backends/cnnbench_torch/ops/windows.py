"""Splits spec padding into what a PyTorch window function takes and what must be padded before it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

from torch import Tensor
from torch.nn import functional

from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.base import Layer
from cnnbench.spec.layers.pooling import WindowPool
from cnnbench.spec.layers.windows import effective_size, output_sizes, require_pairs

Pairs = Sequence[tuple[int, int]]


def symmetric(padding: Pairs) -> tuple[int, ...] | None:
    """One number an axis where begin and end agree everywhere, else None."""
    if all(begin == end for begin, end in padding):
        return tuple(begin for begin, _ in padding)
    return None


def pad_spatial(x: Tensor, padding: Pairs, value: float = 0.0) -> Tensor:
    """``x`` (N, C, *spatial) surrounded by ``value``; a negative number crops, as ``functional.pad`` does.

    Args:
        x: (N, C, *spatial).
        padding: (begin, end) of each spatial axis.
        value: Of the border.
    """
    if not any(any(pair) for pair in padding):
        return x
    flat = [amount for pair in reversed(padding) for amount in pair]  # PyTorch names the last axis first
    return functional.pad(x, flat, value=value)


def full_padding(layer: WindowPool, spatial: Shape) -> tuple[Shape, Pairs]:
    """The output sizes, and the padding whose end reaches exactly to the end of the last window (it may crop)."""
    window = layer.window()
    pairs = require_pairs(layer.padding)
    sizes = output_sizes(
        spatial, window.kernel_size, window.stride, window.dilation, tuple(pairs), ceil_mode=layer.ceil_mode
    )
    ends = [
        (count - 1) * s + effective_size(k, d) - size - begin
        for count, s, k, d, size, (begin, _) in zip(
            sizes, window.stride, window.kernel_size, window.dilation, spatial, pairs, strict=True
        )
    ]
    return sizes, [(begin, end) for (begin, _), end in zip(pairs, ends, strict=True)]


def native_padding(layer: WindowPool) -> tuple[int, ...] | None:
    """The padding as PyTorch's pooling takes it: symmetric, and at most half of the window without its dilation."""
    padding = symmetric(require_pairs(layer.padding))
    if padding is None or any(2 * p > k for p, k in zip(padding, layer.window().kernel_size, strict=True)):
        return None
    return padding


def nothing(layer: Layer, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """The output for no images: the compiled gradient of a convolution of none raises (PyTorch 2.13).

    Args:
        layer: Resolved.
        x: (0, C, *spatial).
        weights: Of the layer, whose gradients are zeros.
    """
    shape = layer.output_shapes((tuple(x.shape),))[0]
    connected = reduce(add, (weight.sum() for weight in weights), x.sum())  # so that every gradient is a zero
    return connected.expand(shape)
