"""Brings pictures to a network's input: channels, size, crop, normalisation; the same for every backend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cnnbench.errors import DataError
from cnnbench.spec.layers import Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

# Rec. 601 luma.
LUMA = (0.299, 0.587, 0.114)


class Moments(NamedTuple):
    """Mean and standard deviation a channel, of values in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @staticmethod
    def of(images: Array) -> Moments:
        """Those of bytes (N, C, H, W); the deviation of a channel that is the same everywhere is 1."""
        means, squares = [], []
        for channel in range(images.shape[1]):
            values = np.bincount(images[:, channel].ravel(), minlength=256) / images[:, channel].size
            levels = np.arange(256) / 255
            means.append(float(values @ levels))
            squares.append(float(values @ (levels - means[-1]) ** 2))
        return Moments(tuple(means), tuple(float(np.sqrt(s)) or 1.0 for s in squares))

    def for_channels(self, channels: int) -> Moments:
        """The same for another number of channels: repeated, or their mean."""
        if channels == len(self.mean):
            return self
        if len(self.mean) == 1:
            return Moments(self.mean * channels, self.std * channels)
        return Moments((float(np.mean(self.mean)),) * channels, (float(np.mean(self.std)),) * channels)


# The statistics of ImageNet's training images with which torchvision's networks are trained.
IMAGENET = Moments((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


_DEEP = {"I", "F", "I;16", "I;16L", "I;16B", "I;16N"}  # Pillow's modes of more than 8 bits a channel


def read_picture(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) in RGB of a picture's file: the first of several, as it is stored, transparency left out.

    Raises:
        DataError: Pillow cannot read it, or it has more than 8 bits a channel, which Pillow would cut off at 255.
    """
    from PIL import Image

    try:
        with Image.open(path) as file:
            if file.mode in _DEEP:
                raise DataError(
                    "the picture has more than 8 bits a channel",
                    where=str(path),
                    received=f"Pillow's mode {file.mode}",
                    expected="8 bits a channel",
                    remedy="scale its values to 0 to 255 first",
                )
            return np.asarray(file.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's and the file system's
        raise DataError(f"the picture cannot be read: {error}", where=str(path)) from None


def require_picture(image: Shape, name: str) -> None:
    """Raises DataError unless ``image`` is (C, H, W)."""
    if len(image) != 3:
        raise DataError(
            f"{name} holds pictures", received=f"image shape {image}", expected="(C, H, W)", remedy="use data: random"
        )


def with_channels(images: Array, channels: int) -> Array:
    """(N, C, H, W) -> (N, channels, H, W): one channel is repeated; three become one by their luma."""
    have = images.shape[1]
    if have == channels:
        return images
    if have == 1:
        return np.repeat(images, channels, axis=1)
    if have == 3 and channels == 1:
        return np.tensordot(images, LUMA, axes=(1, 0))[:, None]
    raise DataError("the channels do not fit", received=f"{have} channels", expected=f"{channels}")


def triangle_weights(size: int, outputs: int) -> Array:
    """The matrix (outputs, size) of linear interpolation along an axis.

    w[i, j] = max(0, 1 - |j + 1/2 - c| / s) / sum, c = (i + 1/2) size / outputs, s = max(size / outputs, 1): half-pixel
    centres; shrinking widens the triangle, so that every input counts (as Pillow's BILINEAR).
    """
    scale = size / outputs
    centres = (np.arange(outputs) + 0.5) * scale
    distance = np.abs(np.arange(size)[None] + 0.5 - centres[:, None]) / max(scale, 1.0)
    weights = np.maximum(0.0, 1.0 - distance)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def resize(images: Array, height: int, width: int) -> Array:
    """Linear resizing along both axes, in float64.

    Args:
        images: (N, C, H, W).
        height: Of the result (N, C, height, width).
        width: Of the result.
    """
    wide = np.asarray(images, np.float64)
    if wide.shape[2] != height:
        wide = triangle_weights(wide.shape[2], height) @ wide
    if wide.shape[3] != width:
        wide = wide @ triangle_weights(wide.shape[3], width).T
    return wide


def resize_and_crop(images: Array, height: int, width: int) -> Array:
    """The centre of the pictures after resizing them to 256/224 of what just covers it.

    Args:
        images: (N, C, H, W).
        height: Of the centre.
        width: Of the centre.
    """
    tall, broad = round(height * 256 / 224), round(width * 256 / 224)
    scale = max(tall / images.shape[2], broad / images.shape[3])
    tall, broad = max(tall, round(images.shape[2] * scale)), max(broad, round(images.shape[3] * scale))
    resized = resize(images, tall, broad)
    top, left = (tall - height) // 2, (broad - width) // 2
    return resized[:, :, top : top + height, left : left + width]


def normalised(images: Array, moments: Moments) -> NDArray[np.float32]:
    """(x - mean) / std a channel, of values in [0, 1], as float32."""
    mean, std = (np.asarray(values)[:, None, None] for values in moments.for_channels(images.shape[1]))
    return np.ascontiguousarray((images - mean) / std, np.float32)


def fitted(pictures: Array, image: Shape, moments: Moments) -> NDArray[np.float32]:
    """Pictures resized and normalised, a few thousand at a time to bound the memory.

    Args:
        pictures: Bytes (N, C, H, W).
        image: (C, height, width) of the result.
        moments: Mean and deviation of each channel.
    """
    channels, height, width = image
    result = np.empty((len(pictures), *image), np.float32)
    for start in range(0, len(pictures), 4096):
        part = resize(pictures[start : start + 4096] / 255, height, width)
        result[start : start + 4096] = normalised(with_channels(part, channels), moments)
    return result
