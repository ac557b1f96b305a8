"""Depthwise convolution: one fused multiply-add for each tap, over stretches of several positions with all channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench_numpy.fast.conv import ConvGeometry

Array = NDArray[Any]

STRETCH = 512  # elements that one inner loop should have at least: each costs as much to start as 200 multiply-adds


class Depthwise:
    """The products of a depthwise convolution.

    Where the last stride of several is 1, the inputs that a tap of ``tile`` neighbouring positions meets lie one after
    another: these positions are taken as one with ``tile`` times the channels, and the weight is repeated as often.
    """

    def __init__(self, geometry: ConvGeometry) -> None:
        self.geometry = geometry
        window = geometry.layer.window()
        width, channels = geometry.out[-2], geometry.out[-1]
        axes = len(window.kernel_size)
        whole = axes > 1 and window.stride[-1] == 1  # along the first axis, regions end anywhere
        tiles = [t for t in range(1, width + 1) if width % t == 0] if whole else [1]
        self.tile = next((t for t in tiles if t * channels >= STRETCH), tiles[-1])
        kernel = list(range(1 + axes, 1 + 2 * axes))
        last = 1 + 2 * axes
        self._views = [*range(1 + axes), *kernel, last]
        self._weights = [*kernel, last]
        self._outputs = [*range(1 + axes), last]

    def repeated(self, weight: Array) -> Array:
        """(C, taps, 1) -> (*kernel, tile * C)."""
        taps = np.ascontiguousarray(np.tile(weight[:, :, 0].T, (1, self.tile)))  # a tile of 1 keeps the order
        return taps.reshape(*self.geometry.layer.window().kernel_size, -1)

    def fill(self, view: Array, weight: Array, block: Array) -> None:
        """Writes the block (M, C).

        Args:
            view: (C, images, rows, *out[1:], *kernel, 1), as ``Patches.view`` gives it.
            weight: As ``repeated`` gives it.
            block: (M, C).
        """
        source = np.moveaxis(view[..., 0], 0, -1)  # (images, *spatial, *kernel, C)
        axes = len(self.geometry.out) - 2
        shape, strides = list(source.shape), list(source.strides)
        if self.tile > 1:
            shape[axes] //= self.tile
            strides[axes] *= self.tile
            shape[-1] *= self.tile
            source = np.lib.stride_tricks.as_strided(source, shape, strides)
        target = block.reshape(*shape[: 1 + axes], shape[-1])
        np.einsum(source, self._views, weight, self._weights, self._outputs, out=target)
