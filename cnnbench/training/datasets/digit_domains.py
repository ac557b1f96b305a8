"""Digits for networks that translate pictures: two domains without pairs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnbench.spec.streams import stream
from cnnbench.training.dataset import DataRequest, Dataset, DatasetPlugin
from cnnbench.training.datasets.digits import LICENCE, read_digits, split
from cnnbench.training.datasets.pictures import Moments, normalised, require_picture, resize, with_channels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

DIGITS = tuple("0123456789")
MOMENTS = Moments((0.5,), (0.5,))  # values from -1 to 1, as of a generator that ends in tanh
COLOURS = {"a": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), "b": ((0.95, 0.9, 0.6), (0.1, 0.1, 0.6))}
"""Paper and ink of each domain."""


def _positions(request: DataRequest, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(split(labels)[request.split != "train"], np.int64)


def in_domain(ink: Array, domain: str, channels: int) -> Array:
    """(N, 1, H, W), how much ink there is, -> (N, channels, H, W): paper + (ink - paper) x.

    Args:
        ink: From 0 to 1.
        domain: ``a`` or ``b``.
        channels: 1 or 3.
    """
    paper, colour = (np.asarray(values)[:, None, None] for values in COLOURS[domain])
    return with_channels(paper + (colour - paper) * ink, channels)


def load_domain(domain: str, request: DataRequest) -> Dataset:
    """Half of the digits of a split in a domain's colours; the other half is the other domain's.

    The truth ``counterparts`` (N, C, H, W) shows the same digits in the other domain: for measuring a translation,
    never for training it.

    Args:
        domain: ``a`` or ``b``.
        request: The split, its image shape and how many.
    """
    name = f"digits_{domain}"
    require_picture(request.image, name)
    pictures, labels = read_digits()
    both = stream(0, "split", "digits/domains").permutation(_positions(request, labels))
    half = np.sort(both[: len(both) // 2] if domain == "a" else both[len(both) // 2 :])
    chosen = half[request.choose(len(half))]
    channels, height, width = request.image
    ink = resize(pictures[chosen], height, width)
    other = "b" if domain == "a" else "a"
    own, theirs = (normalised(in_domain(ink, which, channels), MOMENTS) for which in (domain, other))
    return Dataset(name, request.split, own, labels[chosen], DIGITS, LICENCE, {"counterparts": theirs})


def _domain(domain: str, description: str) -> DatasetPlugin:
    return DatasetPlugin(f"digits_{domain}", description, ("train", "test"), partial(load_domain, domain))


DIGITS_A = _domain("a", "half of the digits, white on black")
DIGITS_B = _domain("b", "the other half, blue on yellow paper; no digit is in both")
