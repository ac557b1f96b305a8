"""Sliding windows as tables of positions in the padded image."""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


class Windows:
    """(windows, taps) positions of a layer's windows in an image of flattened, padded spatial axes.

    Args:
        layer: Has ``window()`` and ``padding``.
        spatial: The image's size. outputs: the number of windows on each axis.
    """

    def __init__(self, layer, spatial, outputs):
        window = layer.window()
        self.outputs = tuple(outputs)
        axes = list(
            zip(window.kernel_size, window.stride, window.dilation, layer.padding, spatial, outputs, strict=True)
        )
        ends = [(n - 1) * s + (k - 1) * d + 1 for k, s, d, _, _, n in axes]
        self.declared = [(begin, end) for *_, (begin, end), _, _ in axes]
        self.padding = [
            (begin, max(end, last - size - begin)) for (*_, (begin, end), size, _), last in zip(axes, ends, strict=True)
        ]
        self.spatial = tuple(spatial)
        self.padded = tuple(b + n + e for (b, e), n in zip(self.padding, spatial, strict=True))
        extents = tuple((k - 1) * d + 1 for k, _, d, *_ in axes)
        places = np.arange(math.prod(self.padded)).reshape(self.padded)
        seen = sliding_window_view(places, extents)
        starts = tuple(slice(0, (n - 1) * s + 1, s) for _, s, _, _, _, n in axes)
        taps = tuple(slice(None, None, d) for _, _, d, *_ in axes)
        self.table = seen[starts + taps].reshape(math.prod(outputs), math.prod(window.kernel_size))

    def gather(self, x, value=0.0):
        """(N, C, *spatial) -> (N, C, windows, taps)."""
        return self._flat(x, value)[:, :, self.table]

    def _flat(self, x, value):
        padded = np.pad(x, ((0, 0), (0, 0), *self.padding), constant_values=value)
        return padded.reshape(*x.shape[:2], math.prod(self.padded))

    def scatter(self, values):
        """The transpose of ``gather``: (N, C, windows, taps) -> (N, C, *spatial)."""
        n, c = values.shape[:2]
        total = np.zeros((n, c, math.prod(self.padded)), values.dtype)
        np.add.at(total, (slice(None), slice(None), self.table), values)
        inside = tuple(slice(b, b + size) for (b, _), size in zip(self.padding, self.spatial, strict=True))
        return total.reshape(n, c, *self.padded)[(slice(None), slice(None), *inside)]

    def count(self, include_padding):
        """How many positions of each window count: of the image, and of its declared padding where that counts."""
        ones = np.ones(self.spatial)
        if include_padding:
            ones = np.pad(ones, self.declared, constant_values=1.0)
            rest = [(0, now - end) for (_, now), (_, end) in zip(self.padding, self.declared, strict=True)]
        else:
            rest = self.padding
        return np.pad(ones, rest).ravel()[self.table].sum(axis=1)
