"""Digits for detecting anomalies: sound ones of all classes to train on; half of the others have a local defect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cnnbench.spec.streams import stream
from cnnbench.training.dataset import DataRequest, Dataset, DatasetPlugin
from cnnbench.training.datasets.digits import LICENCE, SIDE, read_digits, split
from cnnbench.training.datasets.pictures import require_picture, resize, with_channels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

NAME = "digits_anomaly"
DEFECTS = ("none", "stroke", "blot", "quadrant")
"""What the truth ``defects`` counts."""
STROKE, BLOT, QUADRANT = 3, 2, SIDE // 2  # sides in pixels
LEAST = 3.0  # ink that a defect takes away or exchanges, in full pixels
CLEAN = 0.5  # ink below a blot, at most


def load(request: DataRequest) -> Dataset:
    """Sound digits to train on; to test on, half of each class with a defect. Values lie in [0, 1].

    The truth is ``anomalous`` (N,), 1 where a defect was drawn, and ``defects`` (N,), which of ``DEFECTS`` it is. A
    defect is drawn before the picture is resized, from a stream of the picture's own.

    Args:
        request: The split, its image shape and how many.
    """
    require_picture(request.image, NAME)
    pictures, labels = read_digits()
    train, test = split(labels)
    positions = train if request.split == "train" else test
    kinds = np.zeros(len(labels), np.int64)
    if request.split != "train":
        for label in np.unique(labels):
            order = stream(0, "split", f"{NAME}/{label}").permutation(test[labels[test] == label])
            flawed = order[: len(order) // 2]
            kinds[flawed] = 1 + np.arange(len(flawed)) % (len(DEFECTS) - 1)
    chosen = positions[request.choose(len(positions))]
    ink = pictures[chosen].copy()
    for i in np.flatnonzero(kinds[chosen]):
        at = chosen[i]
        generator = stream(0, "pictures", NAME, int(at))
        others = pictures[test[labels[test] != labels[at]], 0]
        ink[i, 0] = with_defect(ink[i, 0], DEFECTS[kinds[at]], others, generator)
    channels, height, width = request.image
    images = np.ascontiguousarray(resize(with_channels(ink, channels), height, width), np.float32)
    truth = {"anomalous": (kinds[chosen] > 0).astype(np.int64), "defects": kinds[chosen]}
    names = {"defects": DEFECTS}
    classes = tuple("0123456789")
    return Dataset(NAME, request.split, images, labels[chosen], classes, LICENCE, truth, names)


def with_defect(ink: Array, defect: str, others: Array, generator: np.random.Generator) -> Array:
    """(8, 8) -> (8, 8): a digit with a defect.

    ``stroke``: 3 x 3 pixels that hold ink are emptied; ``blot``: 2 x 2 pixels beside the strokes are filled;
    ``quadrant``: a quarter is exchanged for that of a digit of another class, which differs there.

    Args:
        ink: From 0 to 1.
        defect: Which.
        others: (N, 8, 8), digits of other classes.
        generator: Of the place, and of the other digit.
    """
    found = ink.copy()
    if defect == "quadrant":
        places, other = _exchanges(ink, others, generator)
        place = _one_of(places, QUADRANT, generator)
        found[place] = other[place]
    elif defect == "stroke":
        found[_one_of(_sums(ink, STROKE) >= LEAST, STROKE, generator)] = 0
    else:
        found[_one_of(_sums(ink, BLOT) <= CLEAN, BLOT, generator)] = 1
    return found


def _exchanges(ink: Array, others: Array, generator: np.random.Generator) -> tuple[Array, Array]:
    """(which windows of a quarter's size can be exchanged, the digit they come from)."""
    for number in generator.permutation(len(others)):
        fits = np.zeros((QUADRANT + 1, QUADRANT + 1), bool)
        fits[::QUADRANT, ::QUADRANT] = _sums(np.abs(ink - others[number]), QUADRANT)[::QUADRANT, ::QUADRANT] >= LEAST
        if fits.any():
            return fits, others[number]
    raise AssertionError("digits of other classes differ in no quarter")


def _sums(ink: Array, side: int) -> Array:
    """The ink in each window."""
    return np.asarray(np.lib.stride_tricks.sliding_window_view(ink, (side, side)).sum((2, 3)))


def _one_of(fits: Array, side: int, generator: np.random.Generator) -> tuple[slice, slice]:
    """One of the windows that fit."""
    top, left = generator.permutation(np.argwhere(fits))[0]
    return slice(top, top + side), slice(left, left + side)


DIGITS_ANOMALY = DatasetPlugin(
    NAME,
    "digits to train on, half of those to test on with a local defect, which is anomalous",
    ("train", "test"),
    load,
)
