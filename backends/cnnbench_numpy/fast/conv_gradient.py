"""The gradients of a channels-last convolution: each worker takes some images, patch block by patch block."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.spec.layers import Conv, Shape
from cnnbench_numpy.fast.conv import Geometry, Patches, Region, ranges
from cnnbench_numpy.fast.team import Team

Array = NDArray[Any]


@lru_cache(maxsize=1024)
def _plan(layer: Conv, x: Shape, dtype: str, workers: int) -> tuple[Geometry, list[list[Region]], Patches]:
    """The regions of each worker's share of the images, and what gathers their patches."""
    itemsize = np.dtype(dtype).itemsize
    shares: list[list[Region]] = []
    for images in ranges(x[0], -(-x[0] // workers)):
        share = Geometry(layer, (images.stop - images.start, *x[1:]), itemsize)
        shares.append([region.moved(images.start) for region in share.regions(1)])
    geometry = Geometry(layer, x, itemsize)
    return geometry, shares, Patches(geometry, [region for share in shares for region in share], dtype, workers)


def _scatter(patches: Patches, d_patches: Array, region: Region, d_strip: Array) -> None:
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


def convolution_gradients(layer: Conv, x: Array, dy: Array, weight: Array, team: Team) -> tuple[Array, Array]:
    """(dx, d weight in its native layout) of the convolution of ``x`` (N, *spatial, C)."""
    geometry, shares, patches = _plan(layer, x.shape, x.dtype.str, team.size)
    x, dy = np.ascontiguousarray(x), np.ascontiguousarray(dy)
    if geometry.pointwise:
        return _pointwise_gradients(x, dy, weight, geometry, shares, team)
    groups = layer.groups
    slopes = dy.reshape(-1, groups, dy.shape[-1] // groups).transpose(1, 0, 2)
    sizes = tuple(
        max(extent, begin + size)
        for extent, (begin, _), size in zip(patches.extent, patches.padding, x.shape[1:-1], strict=True)
    )
    d_padded = np.zeros((x.shape[0], *sizes, x.shape[-1]), x.dtype)
    parts = np.zeros((len(shares), *weight.shape), x.dtype)
    back = weight.transpose(0, 2, 1)

    def task(worker: int, share: int) -> None:
        for region in shares[share]:
            slope = slopes[:, geometry.flat(region)]
            view = patches.view(patches.source(x, region, worker), region)
            gathered = np.ascontiguousarray(view).reshape(groups, -1, geometry.depth)
            parts[share] += np.matmul(gathered.transpose(0, 2, 1), slope)
            first = region.rows.start * patches.window.stride[0]
            strip = d_padded[region.images, first : first + patches.reach(region.size[1])]
            _scatter(patches, np.matmul(slope, back), region, strip)

    team.run(task, len(shares))
    inside = tuple(slice(begin, begin + size) for (begin, _), size in zip(patches.padding, x.shape[1:-1], strict=True))
    return np.ascontiguousarray(d_padded[(slice(None), *inside)]), parts.sum(axis=0)


def _pointwise_gradients(
    x: Array, dy: Array, weight: Array, geometry: Geometry, shares: list[list[Region]], team: Team
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
