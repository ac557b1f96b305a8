"""Reads the images of a view, from pictures or ``.npy`` files, and preprocesses them for the network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError, SuiteError, did_you_mean
from cnnbench.spec.layers import Shape
from cnnbench.training.datasets.pictures import (
    IMAGENET,
    Moments,
    normalised,
    read_picture,
    resize_and_crop,
    with_channels,
)
from cnnbench.training.preprocessing import EFFICIENTNET_LITE, Preprocessing
from cnnbench.training.preprocessing import IMAGENET as IMAGENET_INPUT
from cnnbench.training.preprocessing_faults import PreprocessingVerdict, examine_input

Array = NDArray[Any]
UNIT = Preprocessing(shorter_side=256, filter="bilinear", crop=224, mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))
PIXELS = {"imagenet": IMAGENET_INPUT, "efficientnet_lite": EFFICIENTNET_LITE, "unit": UNIT}
MOMENTS = {
    "imagenet": IMAGENET,
    "efficientnet_lite": Moments((127 / 255,), (128 / 255,)),
    "unit": Moments((0.0,), (1.0,)),
}


def read_images(path: Path | str, image: Shape, pixels: str = "imagenet") -> NDArray[np.float32]:
    """Reads a picture, or images from a ``.npy`` file, as float32 (N, C, H, W).

    Args:
        path: A PNG, JPEG or other file that Pillow reads; it is resized to 256/224 of the network's size and its centre
            is cropped. Or a ``.npy`` file of shape (C, H, W) or (N, C, H, W), which is not preprocessed.
        image: The shape (C, H, W) that the network takes.
        pixels: How a picture's bytes become numbers: ``imagenet`` (torchvision's networks), ``efficientnet_lite``, or
            ``unit`` (0 to 1).

    Raises:
        DataError: The file is not there, is no picture or array, or does not fit.
        SuiteError: Unknown ``pixels``.
    """
    path = Path(path)
    _require(path, pixels)
    found = _array(path) if path.suffix == ".npy" else _picture(path, image, pixels)[None]
    if found.ndim == 3:
        found = found[None]
    if found.dtype.kind not in "fiu" or found.shape[1:] != tuple(image) or not len(found):
        raise DataError(
            "the images do not fit the network",
            where=str(path),
            received=f"{found.dtype} {found.shape}",
            expected=f"numbers of shape {tuple(image)}, or several of them",
        )
    return np.ascontiguousarray(found, np.float32)


def compare_input(
    picture: Path | str, given: Path | str, image: Shape, pixels: str = "imagenet"
) -> PreprocessingVerdict:
    """Whether an input that another program made of a picture is the network's, and if not, what went wrong.

    Args:
        picture: A picture's file, which is preprocessed as ``read_images`` does.
        given: A ``.npy`` file of (C, H, W) or (1, C, H, W): what was made of it.
        image: The shape that the network takes, (3, S, S).
        pixels: As of ``read_images``.

    Raises:
        DataError: A file is not there or cannot be read, or the input is not finite.
        SuiteError: The picture is an array already, the network takes no squares in colour, or unknown ``pixels``.
    """
    picture, given = Path(picture), Path(given)
    channels, height, width = image
    if picture.suffix == ".npy" or channels != 3 or height != width:
        raise SuiteError(
            "the input cannot be compared",
            where="--compare-input",
            received=f"{picture.name} for a network of {tuple(image)}",
            expected="--image with a picture's file, and a network of square pictures in colour",
        )
    _require(picture, pixels)
    found = _array(given)
    if found.dtype.kind not in "fiu":
        raise DataError("the input is no array of numbers", where=str(given), received=str(found.dtype))
    return examine_input(
        _contract(pixels, height), read_picture(picture), found[0] if found.shape[:1] == (1,) else found
    )


def _require(path: Path, pixels: str) -> None:
    if pixels not in PIXELS:
        raise SuiteError(f"unknown pixels {pixels!r}", where="--pixels", remedy=did_you_mean(pixels, PIXELS))
    if not path.is_file():
        raise DataError("there is no such file", where=str(path), expected="a picture, or images as .npy")


def _array(path: Path) -> Array:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"the file is no plain .npy array: {error}", where=str(path)) from None


def _contract(pixels: str, side: int) -> Preprocessing:
    return replace(PIXELS[pixels], crop=side, shorter_side=round(side * 256 / 224))


def _picture(path: Path, image: Shape, pixels: str) -> Array:
    picture = read_picture(path)
    channels, height, width = image
    if channels == 3 and height == width:
        return _contract(pixels, height)(picture)
    batch = with_channels(picture.transpose(2, 0, 1)[None] / 255, channels)
    return np.asarray(normalised(resize_and_crop(batch, height, width), MOMENTS[pixels])[0])
