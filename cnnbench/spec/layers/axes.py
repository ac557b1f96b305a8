"""Axes of the canonical layout as layers name them: negative numbers count from the end."""

from __future__ import annotations

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.layers.arrays import Shape


def resolve_axis(axis: int, rank: int) -> int:
    """``axis`` counted from the front; raises SpecError where the rank does not have it."""
    if not -rank <= axis < rank:
        raise FieldError("axis", "does not exist", received=axis, expected=f"{-rank} to {rank - 1}")
    return axis % rank


def resolve_axes(axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Different axes counted from the front; raises SpecError where the rank lacks one or one is named twice."""
    found = tuple(resolve_axis(axis, rank) for axis in axes)
    if len(set(found)) != len(found):
        raise SpecError("an axis is named twice", received=axes, expected="different axes")
    return found


def resolve_start_axis(axis: int, shape: Shape) -> int:
    """The first normalised axis, counted from the front; raises SpecError for the batch axis."""
    resolved = resolve_axis(axis, len(shape))
    if resolved == 0:
        raise FieldError("start_axis", received=axis, expected=f"1 to {len(shape) - 1}: images are never mixed")
    return resolved
