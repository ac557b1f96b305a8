"""What goes wrong between a picture and a network's input, and which of it explains an input that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.training.preprocessing import Preprocessing, centre_crop
from cnnbench.training.resampling import FILTERS, resize

Picture = NDArray[np.uint8]
Input = NDArray[np.float32]
GREY_LEVEL = 1.0  # within which an input is explained that another library's arithmetic made
ROUNDINGS = 8  # of float32, of the largest value: what another order of operations may cost
Wrong = Callable[[Preprocessing, Picture], Input]


def _as_planes(small: NDArray[np.uint8 | np.float64], right: Preprocessing) -> Input:
    scaled = (small.astype(np.float64) - np.asarray(right.mean)) / np.asarray(right.std)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32)


def _scaled(mean: float, std: float) -> Wrong:
    return lambda right, picture: replace(right, mean=(mean,) * 3, std=(std,) * 3)(picture)


def _filtered(name: str) -> Wrong:
    return lambda right, picture: replace(right, filter=name)(picture)


def _nearest(offset: float) -> Wrong:
    """Each pixel is the one at floor((i + offset) old / new)."""

    def wrong(right: Preprocessing, picture: Picture) -> Input:
        small = picture
        for axis, (old, new) in enumerate(zip(picture.shape, right.resized(*picture.shape[:2]), strict=False)):
            small = small.take(((np.arange(new) + offset) * (old / new)).astype(np.int64), axis)
        return _as_planes(centre_crop(small, right.crop), right)

    return wrong


def _not_antialiased(right: Preprocessing, picture: Picture) -> Input:
    small: NDArray[np.float64] = picture.astype(np.float64)
    for axis, (old, new) in enumerate(zip(picture.shape, right.resized(*picture.shape[:2]), strict=False)):
        place = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
        first = place.astype(np.int64)
        rest = (place - first).reshape(-1, *(1,) * (2 - axis))
        small = small.take(first, axis) * (1 - rest) + small.take(np.minimum(first + 1, old - 1), axis) * rest
    return _as_planes(centre_crop(small, right.crop), right)


def _reversed_planes(right: Preprocessing, picture: Picture) -> Input:
    return np.ascontiguousarray(right(picture)[::-1])


def _channels_last(right: Preprocessing, picture: Picture) -> Input:
    return np.ascontiguousarray(right(picture).transpose(1, 2, 0))


def _reversed_channels(right: Preprocessing, picture: Picture) -> Input:
    return right(np.ascontiguousarray(picture[..., ::-1]))


def _corner(right: Preprocessing, picture: Picture) -> Input:
    size = right.resized(*picture.shape[:2])
    small = resize(picture, *size, right.filter)
    return _as_planes(small[: right.crop, : right.crop], right)


def _stretched(right: Preprocessing, picture: Picture) -> Input:
    return _as_planes(resize(picture, right.crop, right.crop, right.filter), right)


def _uncropped_side(right: Preprocessing, picture: Picture) -> Input:
    return replace(right, shorter_side=right.crop)(picture)


# name: what goes wrong, and how
FAULTS: Mapping[str, tuple[str, Wrong]] = {
    "channels_reversed": ("BGR where the network wants RGB (OpenCV's order)", _reversed_channels),
    "planes_reversed": ("the channels' order reversed after each was normalised", _reversed_planes),
    "channels_last": ("(H, W, C) where the network wants (C, H, W)", _channels_last),
    "scale_0_to_255": ("values left from 0 to 255", _scaled(0.0, 1.0)),
    "scale_0_to_1": ("values from 0 to 1, not normalised", _scaled(0.0, 255.0)),
    "scale_-1_to_1": ("values from -1 to 1, whatever mean and deviation are wanted", _scaled(127.5, 127.5)),
    "not_divided": ("the mean taken away, the deviation forgotten", lambda r, p: replace(r, std=(1.0,) * 3)(p)),
    **{f"filter_{name}": (f"resized by the filter {name}", _filtered(name)) for name in sorted(FILTERS)},
    "filter_nearest": ("resized to the nearest pixel, as Pillow does", _nearest(0.5)),
    "filter_nearest_floor": ("resized to the nearest pixel, as OpenCV and PyTorch do", _nearest(0.0)),
    "not_antialiased": (
        "resized linearly without antialiasing (OpenCV, tf.image.resize, PyTorch on tensors)",
        _not_antialiased,
    ),
    "crop_at_corner": ("cut from the upper left corner, not from the centre", _corner),
    "stretched": ("resized to the crop's square, the aspect ratio lost", _stretched),
    "resized_to_the_crop": ("the shorter side resized to the crop's, with no margin to cut", _uncropped_side),
}


@dataclass(frozen=True)
class PreprocessingVerdict:
    """How an input relates to the one that a network wants.

    Args:
        right: Whether it is that one.
        faults: The names of what explains it, where it is not; () where nothing known does.
        largest: The largest difference from the right one, in grey levels of 0 to 255; None for another shape.
    """

    right: bool
    faults: tuple[str, ...]
    largest: float | None

    @property
    def in_words(self) -> str:
        """A sentence: "the input is wrong: BGR where the network wants RGB (OpenCV's order)"."""
        if self.right:
            return "the input is the one that the network wants"
        if self.largest is None and not self.faults:
            return "the input is wrong: it has another shape than the one that the network wants"
        if not self.faults:
            return f"the input is wrong, by up to {self.largest:.3g} grey levels of 255: nothing known explains it"
        return "the input is wrong: " + "; or ".join(FAULTS[name][0] for name in self.faults)


def examine_input(
    wanted: Preprocessing, picture: Picture, given: Input, grey_levels: float = 0.0
) -> PreprocessingVerdict:
    """Compares the input that a program made of a picture with the one that the network wants.

    Args:
        wanted: How the network wants its pictures.
        picture: (H, W, 3) of uint8, RGB.
        given: (3, crop, crop), what was made of it.
        grey_levels: By how much of 255 a value may differ beside rounding, where another library resized.

    Raises:
        DataError: The given input holds NaN or infinities.
    """
    if not np.isfinite(given).all():
        raise DataError("the input is not finite", expected="numbers")
    right = wanted(picture)
    alike = given.shape == right.shape
    largest = _levels(given, right, wanted) if alike else None
    if alike and _agree(given, right, wanted, grey_levels):
        return PreprocessingVerdict(True, (), largest)
    made = {name: wrong(wanted, picture) for name, (_, wrong) in FAULTS.items()}
    faults = _explaining(made, given, wanted, grey_levels)
    if not faults and largest is not None and largest > 2 * GREY_LEVEL > 2 * grey_levels:
        faults = _explaining(made, given, wanted, GREY_LEVEL)
    return PreprocessingVerdict(False, faults, largest)


def _explaining(made: Mapping[str, Input], given: Input, wanted: Preprocessing, grey_levels: float) -> tuple[str, ...]:
    """The names of the wrong inputs that agree with the given one."""
    return tuple(
        name for name, wrong in made.items() if wrong.shape == given.shape and _agree(given, wrong, wanted, grey_levels)
    )


def _agree(one: Input, other: Input, wanted: Preprocessing, grey_levels: float) -> bool:
    rounding = ROUNDINGS * float(np.finfo(np.float32).eps) * max(1.0, float(np.abs(other).max()))
    return bool(np.abs(one.astype(np.float64) - other).max() <= rounding + grey_levels / min(wanted.std))


def _levels(one: Input, other: Input, wanted: Preprocessing) -> float:
    std = np.asarray(wanted.std).reshape(3, 1, 1)
    return float(np.abs((one.astype(np.float64) - other) * std).max())
