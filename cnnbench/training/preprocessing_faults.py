"""What goes wrong between a picture and a network's input, and which of it explains an input that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.training.preprocessing import Preprocessing
from cnnbench.training.resampling import FILTERS, resize

Picture = NDArray[np.uint8]
Input = NDArray[np.float32]
ROUNDINGS = 8  # of float32, of the largest value: what another order of operations may cost
Wrong = Callable[[Preprocessing, Picture], Input]


def _as_planes(small: Picture, right: Preprocessing) -> Input:
    scaled = (small.astype(np.float64) - np.asarray(right.mean)) / np.asarray(right.std)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32)


def _scaled(mean: float, std: float) -> Wrong:
    return lambda right, picture: replace(right, mean=(mean,) * 3, std=(std,) * 3)(picture)


def _filtered(name: str) -> Wrong:
    return lambda right, picture: replace(right, filter=name)(picture)


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
    "scale_0_to_255": ("values left from 0 to 255", _scaled(0.0, 1.0)),
    "scale_0_to_1": ("values from 0 to 1, not normalised", _scaled(0.0, 255.0)),
    "scale_-1_to_1": ("values from -1 to 1, whatever mean and deviation are wanted", _scaled(127.5, 127.5)),
    "not_divided": ("the mean taken away, the deviation forgotten", lambda r, p: replace(r, std=(1.0,) * 3)(p)),
    **{f"filter_{name}": (f"resized by the filter {name}", _filtered(name)) for name in sorted(FILTERS)},
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
        if self.largest is None:
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
    if given.shape != right.shape:
        return PreprocessingVerdict(False, (), None)
    if _agree(given, right, wanted, grey_levels):
        return PreprocessingVerdict(True, (), _levels(given, right, wanted))
    faults = tuple(name for name, (_, wrong) in FAULTS.items() if _explains(wrong, wanted, picture, given, grey_levels))
    return PreprocessingVerdict(False, faults, _levels(given, right, wanted))


def _explains(wrong: Wrong, wanted: Preprocessing, picture: Picture, given: Input, grey_levels: float) -> bool:
    made = wrong(wanted, picture)
    return made.shape == given.shape and _agree(given, made, wanted, grey_levels)


def _agree(one: Input, other: Input, wanted: Preprocessing, grey_levels: float) -> bool:
    rounding = ROUNDINGS * float(np.finfo(np.float32).eps) * max(1.0, float(np.abs(other).max()))
    return bool(np.abs(one.astype(np.float64) - other).max() <= rounding + grey_levels / min(wanted.std))


def _levels(one: Input, other: Input, wanted: Preprocessing) -> float:
    std = np.asarray(wanted.std).reshape(3, 1, 1)
    return float(np.abs((one.astype(np.float64) - other) * std).max())
