"""Regions where objects may be: selective search, which joins the segments of an image step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError, UnavailableError

Array = NDArray[Any]
BINS = 25


@dataclass(frozen=True)
class SelectiveSearch:
    """Proposes the boxes of all segments that come up while the most similar neighbours are joined, one pair at a time.

    The first segments are those of Felzenszwalb and Huttenlocher's graph. Two neighbours are as similar as their
    histograms of colour have in common, plus how small they are together, plus how well they fill their common box;
    each term lies between 0 and 1. (The fourth term of the paper, texture, is left out.)

    Args:
        scale: Of the first segmentation: larger values give larger segments.
        sigma: Of the blur before it, in pixels.
        min_size: Of a first segment, in pixels.
        smallest: Boxes with a shorter side are left out, in pixels.
        most: The most boxes of an image; those that joined later are taken first.

    Source: Uijlings et al., "Selective search for object recognition" (2013), section 3; Felzenszwalb, Huttenlocher,
    "Efficient graph-based image segmentation" (2004), as scikit-image has it.
    """

    scale: float = 50.0
    sigma: float = 0.8
    min_size: int = 20
    smallest: int = 4
    most: int = 2000

    def __call__(self, image: Array) -> Array:
        """(C, H, W) -> (R, 4) boxes x1, y1, x2, y2 in pixels, none twice.

        Raises:
            DataError: Not one image.
            UnavailableError: scikit-image cannot be imported.
        """
        if image.ndim != 3:
            raise DataError("one image is expected", received=image.shape, expected="(C, H, W)")
        low, high = float(image.min()), float(image.max())
        pixels = np.moveaxis((image - low) / max(high - low, 1e-12), 0, -1).astype(np.float64)
        labels = _segments(pixels, self)
        boxes = _joined_boxes(pixels, labels)[::-1]  # the last joined first
        large = (boxes[:, 2:] - boxes[:, :2]).min(1) >= self.smallest
        _, first = np.unique(boxes[large], axis=0, return_index=True)
        return np.asarray(boxes[large][np.sort(first)][: self.most], np.float64)


def _segments(pixels: Array, search: SelectiveSearch) -> NDArray[np.int64]:
    """(H, W) numbers of segments, from 0."""
    try:
        from skimage.segmentation import felzenszwalb
    except ImportError as error:
        raise UnavailableError(
            f"region proposals need scikit-image: {error}", remedy="pip install scikit-image"
        ) from error
    found = felzenszwalb(pixels, search.scale, search.sigma, search.min_size, channel_axis=-1)
    return np.asarray(np.unique(found, return_inverse=True)[1].reshape(found.shape), np.int64)


@dataclass
class _Segment:
    """Args: size: in pixels. histogram: of colours, its sum is 1. box: x1, y1, x2, y2."""

    size: int
    histogram: Array
    box: Array

    def with_(self, other: _Segment) -> _Segment:
        """Both as one."""
        size = self.size + other.size
        histogram = (self.size * self.histogram + other.size * other.histogram) / size
        return _Segment(size, histogram, _around(self.box, other.box))

    def similarity(self, other: _Segment, image_size: int) -> float:
        """Of colour, of size and of fill."""
        colour = float(np.minimum(self.histogram, other.histogram).sum())
        sizes = self.size + other.size
        x1, y1, x2, y2 = _around(self.box, other.box)
        return float(colour + 1 - sizes / image_size + 1 - ((x2 - x1) * (y2 - y1) - sizes) / image_size)


def _around(first: Array, second: Array) -> Array:
    return np.concatenate([np.minimum(first[:2], second[:2]), np.maximum(first[2:], second[2:])])


def _joined_boxes(pixels: Array, labels: NDArray[np.int64]) -> Array:
    """The boxes of the first segments, then of each that is joined of two."""
    segments = dict(enumerate(_first_segments(pixels, labels)))
    boxes = [segments[number].box for number in segments]
    similar = {pair: segments[pair[0]].similarity(segments[pair[1]], labels.size) for pair in _neighbours(labels)}
    while similar:
        pair = max(similar, key=lambda item: (similar[item], -item[0], -item[1]))
        number = len(boxes)
        segments[number] = segments[pair[0]].with_(segments[pair[1]])
        boxes.append(segments[number].box)
        touched = [other for other in similar if set(other) & set(pair)]
        around = {member for other in touched for member in other} - set(pair)
        for other in touched:
            del similar[other]
        for member in around:
            similar[member, number] = segments[member].similarity(segments[number], labels.size)
    return np.array(boxes, np.float64)


def _first_segments(pixels: Array, labels: NDArray[np.int64]) -> list[_Segment]:
    count = int(labels.max()) + 1
    sizes = np.bincount(labels.ravel(), minlength=count)
    bins = np.minimum((pixels * BINS).astype(np.int64), BINS - 1)
    channels = pixels.shape[-1]
    histograms = np.concatenate(
        [
            np.bincount((labels * BINS + bins[..., c]).ravel(), minlength=count * BINS).reshape(count, BINS)
            for c in range(channels)
        ],
        axis=1,
    )
    found = []
    rows, columns = np.indices(labels.shape)
    lows = [np.full(count, labels.size) for _ in range(2)]
    highs = [np.zeros(count, np.int64) for _ in range(2)]
    for axis, places in enumerate((columns, rows)):
        np.minimum.at(lows[axis], labels.ravel(), places.ravel())
        np.maximum.at(highs[axis], labels.ravel(), places.ravel() + 1)
    for number in range(count):
        box = np.array([lows[0][number], lows[1][number], highs[0][number], highs[1][number]], np.float64)
        found.append(_Segment(int(sizes[number]), histograms[number] / (channels * sizes[number]), box))
    return found


def _neighbours(labels: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Pairs of segments that share an edge, each once, in order."""
    pairs = np.concatenate(
        [
            np.stack([labels[:, :-1].ravel(), labels[:, 1:].ravel()], 1),
            np.stack([labels[:-1].ravel(), labels[1:].ravel()], 1),
        ]
    )
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return [(int(a), int(b)) for a, b in np.unique(pairs, axis=0)]
