"""From a picture to an input: resize the shorter side, crop the centre, normalise; the same for all backends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.training.resampling import resize


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a trained network wants its pictures.

    Args:
        shorter_side: To which the shorter side is resized; the other keeps the aspect ratio, rounded down.
        filter: ``bilinear`` or ``bicubic`` ... (``training.resampling``).
        crop: The side of the square that is cut from the centre.
        mean, std: Of a channel on the scale of 0 to 255: y = (x - mean) / std.

    Source: torchvision's ``Resize``, ``CenterCrop`` and ``Normalize`` on Pillow pictures.
    """

    shorter_side: int
    filter: str
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, picture: NDArray[Any]) -> NDArray[np.float32]:
        """(H, W, 3) or (H, W) of uint8 -> (3, crop, crop) of float32; a grey picture becomes three equal channels.

        Raises:
            DataError: Another dtype or shape, or a crop that is larger than the resized picture.
        """
        if picture.ndim == 2:
            picture = np.repeat(picture[:, :, None], 3, axis=2)
        if picture.ndim != 3 or picture.shape[2] != 3:
            raise DataError("the picture has no three channels", received=picture.shape, expected="(H, W, 3) or (H, W)")
        small = resize(picture, *self.resized(*picture.shape[:2]), self.filter)
        cut = centre_crop(small, self.crop)
        scaled = (cut.astype(np.float64) - np.asarray(self.mean)) / np.asarray(self.std)
        return np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32)

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of a picture after it was resized."""
        side = self.shorter_side
        if height <= width:
            return side, int(side * width / height)
        return int(side * height / width), side


def centre_crop(picture: NDArray[Any], side: int) -> NDArray[Any]:
    """The square in the middle; half a pixel is rounded to even, as torchvision does. Raises DataError."""
    height, width = picture.shape[:2]
    if side > min(height, width):
        raise DataError("the crop is larger than the picture", received=side, expected=f"at most {min(height, width)}")
    top, left = round((height - side) / 2), round((width - side) / 2)
    return picture[top : top + side, left : left + side]


IMAGENET = Preprocessing(
    shorter_side=256,
    filter="bilinear",
    crop=224,
    mean=(0.485 * 255, 0.456 * 255, 0.406 * 255),
    std=(0.229 * 255, 0.224 * 255, 0.225 * 255),
)
"""torchvision's: bilinear, ImageNet's mean and standard deviation."""

EFFICIENTNET_LITE = Preprocessing(
    shorter_side=256, filter="bicubic", crop=224, mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0)
)
"""EfficientNet-Lite's: bicubic, (x - 127) / 128."""
