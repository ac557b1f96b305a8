"""Discrete choices: positions that a layer chooses by comparing values, and which other choices are as right.

For example, two boxes have scores 0.7 and 0.7 + 3e-8, and rounding moves either by up to 6e-8. Which one comes first is
a matter of rounding: both orders are right. A box of score 0.6 between them is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.numerics.budgets.base import entered, load_family
from cnnbench.spec.layers.reduction import ArgReduce, TopK

Array = NDArray[Any]
Arrays = tuple[Array, ...]


class Chosen(NamedTuple):
    """What is right of a layer's integers, nearest to what was given.

    Args:
        positions: By the output's number.
        ties: How many entries are another choice than the reference's.
    """

    positions: Mapping[int, Array]
    ties: int


@dataclass(frozen=True)
class Choosing:
    """A choice that was made.

    Args:
        layer: Which layer chose.
        inputs: Its exact operands, in float64.
        slack: How far each operand may be off where the choice was made; 0 for a layer alone on given operands.
        policy: The precision, which says how far what the layer computes itself may be off.
    """

    layer: Any
    inputs: Arrays
    slack: tuple[float, ...]
    policy: PrecisionPolicy


Rule = Callable[[Choosing, Mapping[int, Array]], bool]
_RULES: dict[str, Rule] = {}
_R = TypeVar("_R", bound=Rule)


def choice_rule(*kinds: str) -> Callable[[_R], _R]:
    """A decorator for the function (choice, positions by output) -> whether they are right too, for these kinds.

    The positions have the right shape and dtype; nothing else of them is known.
    """
    return entered(_RULES, kinds)


def has_choices(kind: str) -> bool:
    """Whether a kind chooses, and has a rule for it."""
    load_family(kind)
    return kind in _RULES


def nearest_choice(choosing: Choosing, exact: Mapping[int, Array], got: Mapping[int, Array | None]) -> Chosen:
    """The right positions: those that were given where they are right too, else the reference's.

    Args:
        choosing: The choice.
        exact: The reference's positions, by the output's number.
        got: Those that were given.
    """
    given: dict[int, Array] = {}
    for i, right in exact.items():
        array = got.get(i)
        if array is None or array.dtype.kind not in "iu" or array.shape != right.shape:
            return Chosen(exact, 0)
        given[i] = np.asarray(array, np.int64)
    differing = sum(int((given[i] != right).sum()) for i, right in exact.items())
    if differing and has_choices(choosing.layer.kind) and _RULES[choosing.layer.kind](choosing, given):
        return Chosen(given, differing)
    return Chosen(exact, 0)


@choice_rule("top_k")
def top_k(choosing: Choosing, positions: Mapping[int, Array]) -> bool:
    """In order and without what is larger, but for twice the slack. Equal values have the order that the kind says."""
    layer, slack = choosing.layer, 2 * choosing.slack[0]
    assert isinstance(layer, TopK)
    x = np.moveaxis(choosing.inputs[0], layer.axis, -1) * (1 if layer.largest else -1)
    taken = np.moveaxis(positions[1], layer.axis, -1)
    if not slack or not _distinct(taken, x.shape[-1]):
        return False
    values = np.take_along_axis(x, taken, -1)
    rest = np.array(x)
    np.put_along_axis(rest, taken, -np.inf, -1)
    in_order = (values[..., 1:] <= values[..., :-1] + slack).all()
    return bool(in_order and (rest.max(-1) <= values.min(-1) + slack).all())


def _distinct(positions: Array, count: int) -> bool:
    """Whether positions along the last axis are below a number, and none occurs twice."""
    if positions.size and not (positions.min() >= 0 and positions.max() < count):
        return False
    return bool((np.diff(np.sort(positions, -1), axis=-1) > 0).all())


@choice_rule("arg_reduce")
def arg_reduce(choosing: Choosing, positions: Mapping[int, Array]) -> bool:
    """The extreme, but for twice the slack. Of equal values the kind says which."""
    layer, slack = choosing.layer, 2 * choosing.slack[0]
    assert isinstance(layer, ArgReduce)
    x = choosing.inputs[0] * (1 if layer.function == "argmax" else -1)
    taken = positions[0] if layer.keepdims else np.expand_dims(positions[0], layer.axis)
    if not slack or taken.min(initial=0) < 0 or taken.max(initial=0) >= x.shape[layer.axis]:
        return False
    return bool((np.take_along_axis(x, taken, layer.axis) >= x.max(layer.axis, keepdims=True) - slack).all())


@choice_rule("max_pool_positions")
def max_positions(choosing: Choosing, positions: Mapping[int, Array]) -> bool:
    """A tap of the window whose value is its maximum, but for twice the slack."""
    layer, x, slack = choosing.layer, choosing.inputs[0], 2 * choosing.slack[0]
    if not slack:
        return False
    places = layer.places(tuple(x.shape))
    images, channels = x.shape[:2]
    flat, taken = x.reshape(images, channels, -1), positions[0].reshape(images, channels, -1)
    if layer.counted == "tensor":
        taken = taken - (np.arange(images * channels) * flat.shape[-1]).reshape(images, channels, 1)
    is_tap = places.inside & (places.numbers == taken[..., None])
    seen = np.where(places.inside, flat[:, :, places.taken], -np.inf)
    best = np.where(is_tap, seen, -np.inf).max(-1)
    return bool(is_tap.any(-1).all() and (best >= seen.max(-1) - slack).all())
