"""Masks as COCO's files have them: polygons, and run lengths as a list or as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cnnbench.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


LARGEST = 1e9  # of a coordinate; NaN is not below it


def decode_mask(value: Any, size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """(H, W) of a ``segmentation``: a list of polygons, or ``{"counts": ..., "size": [H, W]}``.

    Args:
        value: As JSON has it.
        size: (H, W) of the picture.
        where: Which annotation of which file.

    Raises:
        DataError: Neither of the two, or one that does not fit the picture.
    """
    if isinstance(value, list):
        return polygons(value, size, where)
    if not isinstance(value, dict) or not {"counts", "size"} <= set(value):
        expected = "a list of polygons, or counts and size"
        raise DataError("the segmentation is none", where=where, received=type(value).__name__, expected=expected)
    if value["size"] != list(size):
        raise DataError("the mask has another size", where=where, received=str(value["size"]), expected=list(size))
    counts = value["counts"]
    return run_lengths(decompress(counts, where) if isinstance(counts, str) else counts, size, where)


def polygons(value: list[Any], size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """The pixels whose centre lies in one of the polygons.

    ``pycocotools`` follows the outline on a grid that is five times as fine; pixels at an edge may differ from its.

    Args:
        value: Polygons x1, y1, x2, y2, ... in pixels; pixel i covers i to i + 1.
        size: (H, W).
        where: Which annotation of which file.
    """
    from skimage.draw import polygon

    mask = np.zeros(size, np.bool_)
    for corners in value:
        if not _are_numbers(corners) or len(corners) < 6 or len(corners) % 2:
            expected = "x and y of three corners or more, finite numbers"
            raise DataError("a polygon is malformed", where=where, received=str(corners), expected=expected)
        points = np.asarray(corners, np.float64).reshape(-1, 2) - 0.5
        mask[polygon(points[:, 1], points[:, 0], size)] = True
    return mask


def run_lengths(counts: Any, size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """The mask of run lengths: down each column, columns from left to right, zeros first.

    Args:
        counts: Whole numbers that add up to H W.
        size: (H, W).
        where: Which annotation of which file.
    """
    height, width = size
    whole = isinstance(counts, list) and all(type(count) is int and 0 <= count <= height * width for count in counts)
    if not whole or sum(counts) != height * width:
        expected = f"whole numbers whose sum is {height * width}"
        raise DataError("the run lengths do not fill the mask", where=where, received=str(counts), expected=expected)
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return np.asarray(values.reshape(width, height).T)


def decompress(text: str, where: str) -> list[int]:
    """The run lengths in a text of COCO's.

    A number is written in groups of five bits, lowest first, one character each (its code less 48); bit 5 says that
    another group follows, bit 4 of the last one is the sign. From the fourth number on it is the difference to the one
    two places before.

    Source: ``pycocotools``, ``maskApi.c``, ``rleToString`` (which is the encoder).
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64 or shift > 50:
            raise DataError("the run lengths cannot be read", where=where, received=character, expected="COCO's text")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise DataError("the run lengths are cut short", where=where, received=text[-20:], expected="COCO's text")
    return counts


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST for value in values
    )


def require_numbers(values: Any, count: int, what: str, where: str) -> list[float]:
    """A list of so many finite numbers, or DataError.

    Args:
        values: As JSON has them.
        count: How many there must be.
        what: Their name.
        where: Which annotation of which file.
    """
    if not _are_numbers(values) or len(values) != count:
        raise DataError(f"{what} malformed", where=where, received=str(values), expected=f"{count} finite numbers")
    return [float(value) for value in values]
