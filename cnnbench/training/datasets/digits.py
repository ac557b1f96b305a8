"""scikit-learn's digits: 1,797 handwritten digits of 8 x 8 pixels in 17 grey levels."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnbench.spec.streams import stream
from cnnbench.training.dataset import DataRequest, Dataset, DatasetPlugin
from cnnbench.training.datasets.pictures import Moments, normalised, require_picture, resize, with_channels

if TYPE_CHECKING:
    from numpy.typing import NDArray

LICENCE = "Alpaydin, Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998), CC BY 4.0; by scikit-learn"
TEST_SHARE = 0.2
LEVELS = 16
SIDE = 8  # pixels


def load(request: DataRequest) -> Dataset:
    """One split: a fifth of each class is the test split, chosen once and for all; writers appear in both."""
    require_picture(request.image, "digits")
    pictures, labels = read_digits()
    train, test = split(labels)
    moments = Moments((float(pictures[train].mean()),), (float(pictures[train].std()),))
    positions = train if request.split == "train" else test
    chosen = positions[request.choose(len(positions))]
    channels, height, width = request.image
    images = normalised(resize(with_channels(pictures[chosen], channels), height, width), moments)
    return Dataset("digits", request.split, images, labels[chosen], tuple("0123456789"), LICENCE)


@cache
def read_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(pictures (N, 1, 8, 8) of values in [0, 1], labels (N,)); read once, and not to be written to."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    pictures, labels = np.asarray(raw.images)[:, None] / LEVELS, np.array(raw.target, np.int64)
    for array in (pictures, labels):
        array.setflags(write=False)
    return pictures, labels


def split(labels: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(train, test) positions in ascending order, the same share of each class."""
    test = []
    for label in np.unique(labels):
        positions = np.flatnonzero(labels == label)
        order = stream(0, "split", f"digits/{label}").permutation(positions)
        test.append(order[: round(TEST_SHARE * len(positions))])
    chosen = np.sort(np.concatenate(test))
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


DIGITS = DatasetPlugin("digits", "1,797 handwritten digits (scikit-learn), resized", ("train", "test"), load)
