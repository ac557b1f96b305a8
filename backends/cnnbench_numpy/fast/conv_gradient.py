"""The gradients of a channels-last convolution: each worker takes some images, patch block by patch block."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.spec.layers import Conv, Shape
from cnnbench_numpy.fast.conv import Geometry, Patches, Region
from cnnbench_numpy.fast.team import Team

Array = NDArray[Any]


@lru_cache(maxsize=1024)
def _plan(layer: Conv, x: Shape, dtype: str, workers: int) -> tuple[Geometry, list[list[Region]], Patches]:
    """The regions of each share of the images (whole rows of channels), and what gathers their patches."""
    geometry = Geometry(layer, x, np.dtype(dtype).itemsize)
    batch = x[0]
    shares: list[list[Region]] = [[] for _ in range(min(workers, batch))]
    for region in geometry.regions(1):
        for image in range(region.images.start, region.images.stop):
            one = Region(slice(image, image + 1), region.rows, region.columns)
            shares[image * len(shares) // batch].append(one)
    regions = [region for share in shares for region in share]
    return geometry, shares, Patches(geometry, regions, dtype, workers)


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
    flat = np.ascontiguousarray(dy).reshape(-1, layer.groups, dy.shape[-1] // layer.groups).transpose(1, 0, 2)
    padded = tuple(
        max(extent, begin + size)
        for extent, (begin, _), size in zip(patches.extent, patches.padding, x.shape[1:-1], strict=True)
    )
    d_padded = np.zeros((x.shape[0], *padded, x.shape[-1]), x.dtype)
    parts = np.zeros((len(shares), *weight.shape), x.dtype)
    back = weight.transpose(0, 2, 1)

    def task(worker: int, share: int) -> None:
        for region in shares[share]:
            rows = geometry.flat(region)
            view = patches.view(patches.source(x, region, worker), region)
            gathered = np.ascontiguousarray(view).reshape(layer.groups, -1, geometry.depth)
            parts[share] += np.matmul(gathered.transpose(0, 2, 1), flat[:, rows])
            first = region.rows.start * patches.window.stride[0]
            d_strip = d_padded[region.images, first : first + patches.reach(region.size[1])]
            _scatter(patches, np.matmul(flat[:, rows], back), region, d_strip)

    team.run(task, len(shares))
    inside = tuple(slice(begin, begin + size) for (begin, _), size in zip(patches.padding, x.shape[1:-1], strict=True))
    return np.ascontiguousarray(d_padded[(slice(None), *inside)]), parts.sum(axis=0)
