"""The gradients of a channels-last convolution: each worker takes some images, patch block by patch block."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.spec.layers import Conv, Shape
from cnnbench.spec.layers.windows import require_pairs
from cnnbench_numpy.fast.conv import ConvGeometry, ConvRegion, Patches, ranges
from cnnbench_numpy.fast.epilogue import KernelOperands
from cnnbench_numpy.fast.kernels import conv_kernel
from cnnbench_numpy.fast.team import Team

Array = NDArray[Any]


@lru_cache(maxsize=1024)
def _plan(layer: Conv, x: Shape, dtype: str, workers: int) -> tuple[ConvGeometry, list[list[ConvRegion]], Patches]:
    """The regions of each worker's share of the images, and what gathers their patches."""
    itemsize = np.dtype(dtype).itemsize
    shares: list[list[ConvRegion]] = []
    for images in ranges(x[0], -(-x[0] // workers)):
        share = ConvGeometry(layer, (images.stop - images.start, *x[1:]), itemsize)
        shares.append([region.moved(images.start) for region in share.regions(1)])
    geometry = ConvGeometry(layer, x, itemsize)
    return geometry, shares, Patches(geometry, [region for share in shares for region in share], dtype, workers)


def _scatter(patches: Patches, d_patches: Array, region: ConvRegion, d_strip: Array) -> None:
    """Adds the gradients of patches to the (padded) input rows that they were gathered from, tap by tap."""
    images, rows = region.size
    layer, window = patches.geometry.layer, patches.window
    counts = (rows, *patches.geometry.out[2:-1])
    taps = d_patches.reshape(layer.groups, images, *counts, math.prod(window.kernel_size), -1)
    for number, tap in enumerate(np.ndindex(*window.kernel_size)):
        places = tuple(
            slice(k * d, k * d + (count - 1) * s + 1, s)
            for k, d, s, count in zip(tap, window.dilation, window.stride, counts, strict=True)
        )
        target = d_strip[(slice(None), *places)]
        target += np.moveaxis(taps[..., number, :], 0, -2).reshape(target.shape)


def _reverse(layer: Conv, x: Shape) -> Conv | None:
    """The convolution of dy with the flipped weight that gives dx, where every stride is 1; None where there is none.

    Each side is padded with d (k - 1) less the forward padding, so that the output has the size of ``x``.
    """
    window = layer.window()
    padding = tuple(
        (d * (k - 1) - begin, d * (k - 1) - end)
        for k, d, (begin, end) in zip(window.kernel_size, window.dilation, require_pairs(layer.padding), strict=True)
    )
    if set(window.stride) != {1} or min(map(min, padding)) < 0:
        return None
    return replace(layer, out_channels=x[-1], padding=padding, bias=False)


def _flipped(layer: Conv, weight: Array) -> Array:
    """(G, taps * C/G, O/G) -> (G, taps * O/G, C/G) with the taps in reverse order."""
    groups, depth, per_group = weight.shape
    num_taps = math.prod(layer.window().kernel_size)
    taps = weight.reshape(groups, num_taps, -1, per_group)[:, ::-1]
    return np.ascontiguousarray(taps.transpose(0, 1, 3, 2)).reshape(groups, -1, depth // num_taps)


def convolution_gradients(layer: Conv, x: Array, dy: Array, weight: Array, team: Team) -> tuple[Array, Array]:
    """(dx, d weight in its native layout) of the convolution of ``x`` (N, *spatial, C).

    Args:
        layer: Resolved.
        x: (N, *spatial, C).
        dy: The cotangent (N, *out, O).
        weight: In its native layout.
        team: The threads.
    """
    geometry, shares, patches = _plan(layer, x.shape, x.dtype.str, team.size)
    x, dy = np.ascontiguousarray(x), np.ascontiguousarray(dy)
    if geometry.pointwise:
        return _pointwise_gradients(x, dy, weight, geometry, shares, team)
    groups = layer.groups
    slopes = dy.reshape(-1, groups, dy.shape[-1] // groups).transpose(1, 0, 2)
    parts = np.zeros((len(shares), *weight.shape), x.dtype)

    def task(worker: int, share: int) -> None:
        for region in shares[share]:
            view = patches.view(patches.source(x, region, worker), region)
            gathered = np.ascontiguousarray(view).reshape(groups, -1, geometry.depth)
            parts[share] += np.matmul(gathered.transpose(0, 2, 1), slopes[:, geometry.flat(region)])

    team.run(task, len(shares))
    reverse = _reverse(layer, x.shape)
    if reverse is None:
        return _scattered(x, slopes, weight, (geometry, shares, patches), team), parts.sum(axis=0)
    dx = np.empty_like(x)
    conv_kernel(reverse, dy.shape, x.dtype.str, team).run(KernelOperands((dy,), (_flipped(layer, weight),), ()), dx)
    return dx, parts.sum(axis=0)


def _scattered(
    x: Array, slopes: Array, weight: Array, planned: tuple[ConvGeometry, list[list[ConvRegion]], Patches], team: Team
) -> Array:
    """The gradient dx of a strided convolution: dy W^T, added to where each patch came from."""
    geometry, shares, patches = planned
    sizes = tuple(
        max(extent, begin + size)
        for extent, (begin, _), size in zip(patches.extent, patches.padding, x.shape[1:-1], strict=True)
    )
    d_padded = np.zeros((x.shape[0], *sizes, x.shape[-1]), x.dtype)
    back = weight.transpose(0, 2, 1)

    def task(worker: int, share: int) -> None:
        for region in shares[share]:
            first = region.rows.start * patches.window.stride[0]
            strip = d_padded[region.images, first : first + patches.reach(region.size[1])]
            _scatter(patches, np.matmul(slopes[:, geometry.flat(region)], back), region, strip)

    team.run(task, len(shares))
    inside = tuple(slice(begin, begin + size) for (begin, _), size in zip(patches.padding, x.shape[1:-1], strict=True))
    return np.ascontiguousarray(d_padded[(slice(None), *inside)])


def _pointwise_gradients(
    x: Array, dy: Array, weight: Array, geometry: ConvGeometry, shares: list[list[ConvRegion]], team: Team
) -> tuple[Array, Array]:
    """The same where the patches are the input itself: dx = dy W^T, dW = x^T dy."""
    dx = np.empty_like(x)
    rows, slopes, d_rows = (array.reshape(-1, array.shape[-1]) for array in (x, dy, dx))
    parts = np.empty((len(shares), *weight.shape), x.dtype)

    def task(worker: int, share: int) -> None:
        places = [geometry.flat(region) for region in shares[share]]
        part = slice(places[0].start, places[-1].stop)
        np.matmul(rows[part].T, slopes[part], out=parts[share, 0])
        np.matmul(slopes[part], weight[0].T, out=d_rows[part])

    team.run(task, len(shares))
    return dx, parts.sum(axis=0)
