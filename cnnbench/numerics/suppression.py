"""Which answers of non-maximum suppression are right where scores, sizes or overlaps lie within rounding of a bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.choices import Choosing
from cnnbench.numerics.rounding import Roundoff, to_storage
from cnnbench.spec.layers.detection import NonMaxSuppression

Array = NDArray[Any]
STEPS = 4  # roundings of a side's difference, a product, a sum and the quotient, each


class _Sides(NamedTuple):
    """Corners (B, 4) with x1 <= x2 and y1 <= y2, and by how much each coordinate may be off (B, 1)."""

    corners: Array
    off: Array


def suppression(choosing: Choosing, positions: Mapping[int, Array]) -> bool:
    """Whether each set of boxes has one of the answers that the greedy rule gives within rounding.

    The rule's answer is the only list for which all of this holds. Each is asked with the slack of what it compares:

    * boxes that stay take part (score and size beyond their thresholds), and come by falling score;
    * no two of them overlap by more than the threshold;
    * a box that takes part and is not among them overlaps with a better one that stays, or the list is full and it is
      worse than all of it.
    """
    boxes, scores = choosing.inputs
    indices, count = positions[0], positions[1]
    return all(
        _one(choosing, (boxes[place], scores[place]), indices[place], int(count[place]))
        for place in np.ndindex(*scores.shape[:-1])
    )


def _one(choosing: Choosing, inputs: tuple[Array, Array], indices: Array, count: int) -> bool:
    layer, (boxes, scores), slack = choosing.layer, inputs, 2 * choosing.slack[1]
    assert isinstance(layer, NonMaxSuppression)
    stay = indices[: max(count, 0)]
    if not 0 <= count <= len(indices) or (indices[count:] != -1).any() or not np.isfinite(scores).all():
        return False
    if stay.size and (stay.min() < 0 or stay.max() >= len(boxes) or len(set(stay.tolist())) != count):
        return False
    sides = _corners(choosing, boxes)
    may, must = _takes_part(choosing, sides, scores)
    if not may[stay].all() or not _in_order(scores[stay], stay, slack):
        return False
    low, high = _overlaps(choosing, sides, stay)
    others = low[:, stay] > layer.iou_threshold
    np.fill_diagonal(others, False)
    if others.any():
        return False
    left = must.copy()
    left[stay] = False
    better = _not_after(scores[stay][:, None], stay[:, None], scores[None, :], np.arange(len(boxes))[None, :], slack)
    gone = ((high > layer.iou_threshold) & better).any(0)
    if count == layer.max_outputs and count:
        last = int(np.argmin(scores[stay]))
        gone |= _not_after(scores[stay][last], stay[last], scores, np.arange(len(boxes)), slack)
    return bool((gone | ~left).all())


def _in_order(scores: Array, stay: Array, slack: float) -> bool:
    return bool(_not_after(scores[:-1], stay[:-1], scores[1:], stay[1:], slack).all())


def _not_after(first: Any, first_at: Any, second: Any, second_at: Any, slack: float) -> Any:
    """Whether a box may come before another; equal scores without slack come by rising index."""
    if slack:
        return first >= second - slack
    return (first > second) | ((first == second) & (first_at <= second_at))


def _corners(choosing: Choosing, boxes: Array) -> _Sides:
    u, first, second = Roundoff.of(choosing.policy), boxes[:, :2], boxes[:, 2:]
    off = np.full((len(boxes), 1), choosing.slack[0])
    if choosing.layer.box_format == "center":
        size = np.abs(boxes).max(1, keepdims=True, initial=0)
        off = 1.5 * off + 2 * u.stored * size
        first, second = first - second / 2, first + second / 2
    return _Sides(np.concatenate([np.minimum(first, second), np.maximum(first, second)], 1), off)


def _takes_part(choosing: Choosing, sides: _Sides, scores: Array) -> tuple[Array, Array]:
    """The boxes that may take part, and those that must."""
    layer, u = choosing.layer, Roundoff.of(choosing.policy)
    may, must = np.ones(len(scores), bool), np.ones(len(scores), bool)
    if layer.score_threshold is not None:
        # the threshold itself is rounded to the scores' type
        off = choosing.slack[1] + u.stored * abs(layer.score_threshold) * (choosing.slack[1] > 0)
        may &= scores > layer.score_threshold - off
        must &= scores > layer.score_threshold + off
    if layer.min_size is not None:
        size = sides.corners[:, 2:] - sides.corners[:, :2]
        off = 2 * sides.off + 2 * u.stored * (np.abs(size) + abs(layer.min_size))
        may &= (size >= layer.min_size - off).all(1)
        must &= (size >= layer.min_size + off).all(1)
    return may, must


def _overlaps(choosing: Choosing, sides: _Sides, stay: Array) -> tuple[Array, Array]:
    """Between which bounds the overlaps of boxes that stay with all boxes lie, (R, B) each.

    IoU = c / (a + b - c) rises with the common area c and falls with the areas a and b, so that bounds of these bound
    it. Where all of them are exact in the storage type, the quotient is rounded once, and compares alike everywhere.
    """
    u = Roundoff.of(choosing.policy)
    some, every = (part[stay] for part in sides), sides
    corners, off = some
    common_sides = np.minimum(corners[:, None, 2:], every.corners[None, :, 2:])
    common_sides = common_sides - np.maximum(corners[:, None, :2], every.corners[None, :, :2])
    moved = 2 * np.maximum(off[:, None], every.off[None])
    factor = 1 + STEPS * u.stored

    def between(lengths: Array, by: Array) -> tuple[Array, Array]:
        low, high = (np.maximum(lengths + sign * by, 0).prod(-1) for sign in (-1, 1))
        return low / factor, high * factor

    lengths = every.corners[:, 2:] - every.corners[:, :2]
    common, areas = between(common_sides, moved), between(lengths, 2 * every.off)
    both = [area[stay][:, None] + area[None] for area in areas]
    slight = 2.0**-1000  # of boxes without area nothing is said
    low = common[0] / np.maximum(both[1] - common[0], slight) / factor
    high = common[1] / np.maximum(both[0] - common[1], slight) * factor
    high = np.where(both[1] > 0, high, 0.0)
    return _decided(choosing, (lengths, common_sides), stay, (low, high))


def _decided(
    choosing: Choosing, lengths: tuple[Array, Array], stay: Array, bounds: tuple[Array, Array]
) -> tuple[Array, Array]:
    """The bounds, drawn together where the quotient is the only rounding and does not change the comparison."""
    if any(choosing.slack) or choosing.layer.box_format == "center":
        return bounds
    policy, threshold = choosing.policy, choosing.layer.iou_threshold
    common = np.maximum(lengths[1], 0).prod(-1)
    areas = lengths[0].prod(-1)
    union = areas[stay][:, None] + areas[None] - common
    parts = (lengths[0], areas, lengths[1], common, union, areas[stay][:, None] + areas[None])
    kept = [to_storage(part, policy).astype(np.float64) == part for part in parts]
    whole = kept[0].all(-1) & kept[1]
    exact = whole[stay][:, None] & whole[None] & kept[2].all(-1) & kept[3] & kept[4] & kept[5]
    quotient = np.divide(common, union, out=np.zeros_like(union), where=union > 0)
    bound = np.asarray(threshold)
    answers = [quotient > bound, to_storage(quotient, policy) > to_storage(bound, policy)]
    answers.append(quotient.astype(np.float32) > np.float32(threshold))
    alike = exact & (answers[0] == answers[1]) & (answers[0] == answers[2])
    return np.where(alike, quotient, bounds[0]), np.where(alike, quotient, bounds[1])
