"""Channels-last convolution as blocked products: patches of a few output rows at a time times the whole weight."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.operations import WeightLayout
from cnnbench.spec.layers import Conv, Shape
from cnnbench.spec.layers.windows import require_pairs

Array = NDArray[Any]

PATCH_BYTES = 1 << 20  # patches of a block stay near the second-level cache
OUTPUT_BYTES = 1 << 19  # as does an output block while its epilogue runs
LEAST_ROWS = 64  # fewer rows do not pay for packing the weight in each product


def _to_native(layer: Conv, name: str, array: Array, channels_last: bool) -> Array:
    """(O, C/G, *k) -> (G, taps * C/G, O/G), as correlation reads it."""
    if name != "weight" or not channels_last:
        return array
    out, per_group = array.shape[:2]
    correlated: Array = layer.correlated(array)
    grouped = correlated.reshape(layer.groups, out // layer.groups, per_group, -1)
    return grouped.transpose(0, 3, 2, 1).reshape(layer.groups, -1, out // layer.groups)


def _to_canonical(layer: Conv, name: str, array: Array, channels_last: bool) -> Array:
    """The inverse of ``_to_native``."""
    if name != "weight" or not channels_last:
        return array
    kernel = layer.window().kernel_size
    grouped = array.reshape(layer.groups, math.prod(kernel), -1, array.shape[2])
    canonical: Array = layer.correlated(grouped.transpose(0, 3, 2, 1).reshape(layer.out_channels, -1, *kernel))
    return canonical


CONV_WEIGHTS = WeightLayout(_to_native, _to_canonical)


@dataclass(frozen=True)
class ConvRegion:
    """One task: some images, a range of the first spatial axis, a range of output channels."""

    images: slice
    rows: slice
    columns: slice

    @property
    def size(self) -> tuple[int, int]:
        """(images, rows)."""
        return self.images.stop - self.images.start, self.rows.stop - self.rows.start

    def moved(self, images: int) -> ConvRegion:
        """The same region that many images later."""
        return replace(self, images=slice(self.images.start + images, self.images.stop + images))


def ranges(total: int, step: int) -> list[slice]:
    """About equal ranges of at most ``step``; none of nothing."""
    if not total:
        return []
    count = -(-total // max(step, 1))
    ends = [total * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


@dataclass(frozen=True)
class ConvGeometry:
    """The sizes of one convolution of a channels-last input shape."""

    layer: Conv
    x: Shape
    itemsize: int

    @cached_property
    def out(self) -> Shape:
        """(N, *out, O)."""
        batch, *spatial, channels = self.x
        canonical = self.layer.output_shapes(((batch, channels, *spatial),))[0]
        return (batch, *canonical[2:], canonical[1])

    @cached_property
    def pointwise(self) -> bool:
        """Whether the patches are the input itself."""
        window = self.layer.window()
        return (
            set(window.kernel_size) == {1}
            and set(window.stride) == {1}
            and not any(map(any, require_pairs(self.layer.padding)))
            and self.layer.groups == 1
        )

    @cached_property
    def depthwise(self) -> bool:
        """Whether every channel is a group of its own with one output."""
        return self.layer.groups == self.x[-1] == self.layer.out_channels > 1

    @cached_property
    def per_row(self) -> int:
        """Output positions in one step of the first spatial axis."""
        return math.prod(self.out[2:-1])

    @cached_property
    def depth(self) -> int:
        """Products in one output value."""
        return math.prod(self.layer.window().kernel_size) * (self.x[-1] // self.layer.groups)

    def regions(self, team: int) -> list[ConvRegion]:
        """The tasks: blocks of rows or images that fit the cache, and ranges of columns where rows are few."""
        batch, rows = self.out[0], self.out[1]
        positions = batch * rows * self.per_row
        columns = (
            ranges(self.out[-1], -(-self.out[-1] // team)) if self._few(positions, team) else [slice(0, self.out[-1])]
        )
        row_bytes = self.per_row * self.itemsize * max(self.out[-1], 1)
        limit = OUTPUT_BYTES // row_bytes
        if not self.pointwise:
            limit = min(limit, PATCH_BYTES // (self.per_row * self.itemsize * self.depth * self.layer.groups))
        limit = max(limit, -(-LEAST_ROWS // self.per_row))
        if len(columns) == 1:
            limit = min(limit, -(-batch * rows // team))
        if limit >= rows:
            blocks = [(images, slice(0, rows)) for images in ranges(batch, limit // rows)]
        else:
            blocks = [(slice(n, n + 1), part) for n in range(batch) for part in ranges(rows, limit)]
        return [ConvRegion(images, part, cut) for cut in columns for images, part in blocks]

    def _few(self, positions: int, team: int) -> bool:
        return self.layer.groups == 1 and team > 1 and positions < LEAST_ROWS * team and self.out[-1] >= 16 * team

    def flat(self, region: ConvRegion) -> slice:
        """The region's positions among all N * out positions."""
        rows = self.out[1]
        start = (region.images.start * rows + region.rows.start) * self.per_row
        stop = ((region.images.stop - 1) * rows + region.rows.stop) * self.per_row
        return slice(start, stop)


class Patches:
    """Gathers the patches (G, positions, taps * C/G) of a region; one workspace for each worker."""

    def __init__(self, geometry: ConvGeometry, regions: list[ConvRegion], dtype: Any, workers: int) -> None:
        self.geometry = geometry
        layer, x, out = geometry.layer, geometry.x, geometry.out
        self.window = layer.window()
        self.padding = tuple(require_pairs(layer.padding))
        self.extent = tuple(
            (count - 1) * s + d * (k - 1) + 1
            for count, k, s, d in zip(out[1:-1], *self.window[:2], self.window.dilation, strict=True)
        )
        self.padded = any(map(any, self.padding))
        images, rows = (max((region.size[i] for region in regions), default=0) for i in (0, 1))  # no images, no regions
        self.strips = [
            np.zeros((images, max(self.reach(rows), 0), *self.extent[1:], x[-1]) if self.padded else 0, dtype)
            for _ in range(workers)
        ]

    def reach(self, rows: int) -> int:
        """Input rows under this many output rows."""
        window = self.window
        return (rows - 1) * window.stride[0] + window.dilation[0] * (window.kernel_size[0] - 1) + 1

    def source(self, x: Array, region: ConvRegion, worker: int) -> Array:
        """The input under a region, zeros around it where it is padded: (images, reach, *extent[1:], C).

        Args:
            x: (N, *spatial, C).
            region: Images and rows of the output.
            worker: The number of the thread, which has a strip of its own.
        """
        images, rows = region.size
        first = region.rows.start * self.window.stride[0] - self.padding[0][0]
        reach = self.reach(rows)
        if not self.padded:
            return x[region.images, first : first + reach]
        strip = self.strips[worker][:images, :reach]
        low, high = max(first, 0), min(first + reach, x.shape[1])
        if low > first:
            strip[:, : low - first] = 0
        if high < first + reach:
            strip[:, high - first :] = 0
        inner = tuple(
            slice(begin, min(begin + size, extent))
            for (begin, _), size, extent in zip(self.padding[1:], x.shape[2:-1], self.extent[1:], strict=True)
        )
        kept = tuple(slice(0, part.stop - part.start) for part in inner)
        strip[(slice(None), slice(low - first, high - first), *inner)] = x[(region.images, slice(low, high), *kept)]
        return strip

    def view(self, source: Array, region: ConvRegion) -> Array:
        """(G, images, rows, *out[1:], *kernel, C/G): windows of the source, not copied."""
        images, rows = region.size
        groups, window = self.geometry.layer.groups, self.window
        step = source.strides
        per_group = source.shape[-1] // groups
        shape = (groups, images, rows, *self.geometry.out[2:-1], *window.kernel_size, per_group)
        strides = (
            per_group * step[-1],
            step[0],
            *(s * stride for s, stride in zip(step[1:-1], window.stride, strict=True)),
            *(s * d for s, d in zip(step[1:-1], window.dilation, strict=True)),
            step[-1],
        )
        return np.lib.stride_tricks.as_strided(source, shape, strides)

    def gather(self, x: Array, region: ConvRegion, worker: int, workspace: Array) -> Array:
        """The patches of a region, copied into the worker's workspace.

        Args:
            x: (N, *spatial, C).
            region: Images and rows of the output.
            worker: The number of the thread.
            workspace: Of the worker; overwritten.
        """
        view = self.view(self.source(x, region, worker), region)
        flat = workspace[: view.size]
        np.copyto(flat.reshape(view.shape), view)
        return flat.reshape(view.shape[0], -1, self.geometry.depth)

    def workspace_size(self, regions: list[ConvRegion]) -> int:
        """Elements of the largest region's patches."""
        geometry = self.geometry
        positions = max((math.prod(region.size) for region in regions), default=0) * geometry.per_row
        return positions * geometry.depth * geometry.layer.groups


def product(patches: Array, weight: Array, block: Array) -> None:
    """(G, M, K) times (G, K, O/G) into the block (M, O).

    Args:
        patches: (G, M, K).
        weight: (G, K, O/G).
        block: (M, O); overwritten.
    """
    if patches.shape[0] == 1:
        np.matmul(patches[0], weight[0], out=block)
    else:
        grouped = block.reshape(block.shape[0], weight.shape[0], weight.shape[2])
        np.matmul(patches, weight, out=grouped.transpose(1, 0, 2))
