"""Images that a program may take for special ones: constant ones, one with a single other value, and equal ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.cache_entry import CacheEntry
from cnnbench.numerics.case import Case
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.numerics.rounding import all_to_storage, largest_value

Array = NDArray[Any]
Arrays = Mapping[str, Array]

ZEROS, ONES, MEAN, ONE_HOT = "zeros", "ones", "their mean", "zeros but for one value"


def structured_images(case: Case) -> dict[str, Arrays]:
    """Batches of one image by what it holds; none where no input is of single images.

    An input of integers has its own first value for zeros, ones and mean: others may be positions that are not there.
    """
    batched = _batched(case)
    return {
        kind: all_to_storage(
            {name: _filled(kind, array) if name in batched else array for name, array in case.inputs.items()},
            case.policy,
        )
        for kind in ((ZEROS, ONES, MEAN, ONE_HOT) if batched else ())
    }


def structured_batches(case: Case, images: Mapping[str, Arrays]) -> Iterator[tuple[str, Arrays]]:
    """What a batch of the case's size holds, and the batch: of such images alone, before others, and of equal images.

    Args:
        case: Whose images the others are.
        images: Some of ``structured_images``.
    """
    batched, size = _batched(case), case.size

    def joined(*parts: tuple[Arrays, slice, int]) -> Arrays:
        return {
            name: np.concatenate([np.repeat(part[name][rows], times, axis=0) for part, rows, times in parts])
            if name in batched
            else array
            for name, array in case.inputs.items()
        }

    for kind, image in images.items():
        yield f"images of {kind}", joined((image, slice(1), size))
    if batched and size > 1:
        yield "equal images", joined((case.inputs, slice(1), size))
        for kind, image in images.items():
            if kind == MEAN:
                yield "a constant image before others", joined((image, slice(1), 1), (case.inputs, slice(1, None), 1))
    if batched and size > 2:
        yield (
            "equal images but for the last",
            joined((case.inputs, slice(1), size - 1), (case.inputs, slice(-1, None), 1)),
        )


def exact_of_structured(oracle: Oracle, images: Mapping[str, Arrays]) -> dict[str, dict[str, Array]]:
    """What the reference makes of each of these images, by output; only of those where it is in range.

    Args:
        oracle: Of the case.
        images: Of ``structured_images``.
    """
    case = oracle.case
    names = [name for name, _ in case.lowered.outputs]

    def fill(entry: CacheEntry) -> None:
        for i, image in enumerate(images.values()):
            with np.errstate(all="ignore"):
                exact = reference().subject.forward(case.lowered, case.stored, image, reference_options()).outputs
            for j, name in enumerate(names):
                entry.write(f"value.{i}.{j}", exact[name])

    entry = oracle.cache.entry(case.key("structured images", kinds=list(images)), fill)
    found = {
        kind: {name: np.asarray(entry.read(f"value.{i}.{j}")) for j, name in enumerate(names)}
        for i, kind in enumerate(images)
    }
    most = largest_value(case.policy)
    return {kind: exact for kind, exact in found.items() if all(np.all(np.abs(a) <= most) for a in exact.values())}


def _batched(case: Case) -> list[str]:
    return [item.name for item in case.graph.inputs if item.batched and case.inputs[item.name].size]


def _filled(kind: str, array: Array) -> Array:
    """One image of a kind, with the axis of the batch."""
    if array.dtype.kind == "f":
        value = {ONES: 1.0, MEAN: float(array.mean(dtype=np.float64))}.get(kind, 0.0)
        found, other = np.full_like(array[:1], value), array.dtype.type(1)
    else:
        found, other = np.full_like(array[:1], array.flat[0]), array.flat[-1]
    if kind == ONE_HOT:
        found.flat[found.size // 2] = other
    return found
