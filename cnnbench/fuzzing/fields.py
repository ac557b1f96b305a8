"""Draws layers with random fields, each from the values that its type, its name and the layer admit."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from cnnbench.errors import SpecError
from cnnbench.fuzzing.choices import Choices
from cnnbench.fuzzing.field_values import INTEGERS, NUMBERS, PROBABILITIES, Operands, divisors, up_to
from cnnbench.spec.fields import checked
from cnnbench.spec.layers import Layer, Shapes

TRIES = 24
TOKENS = 64  # of an attention, whose tables grow with their square
LARGEST = 3000  # values of one image's output: many small networks find more than a few large ones
KEPT = frozenset({"activations", "fan", "distribution", "connections", "weights_row_major"})  # fit only together
# Which indices there are depends on these.
BOUNDS = frozenset({"num_embeddings", "axis", "shared_axes", "ignore_index"})
PER_GATE = ("alpha", "beta")  # of recurrent layers, where they go with ``activations``
SPATIAL_NAMES = ("starts", "ends", "steps", "axes", "shifts")  # some of the axes, as many of each


def draw_layer(kind: type[Layer], base: Mapping[str, Any], inputs: Shapes, dice: Choices) -> Layer | None:
    """A layer of a kind that takes these inputs; None where none was found.

    Args:
        kind: Its class.
        base: Fields that are known to go together, for those that are not drawn.
        inputs: The shapes that it reads, batch axes of 1 included.
        dice: Decides.
    """
    names = [item.name for item in fields(kind)]
    kept = KEPT | BOUNDS if kind.int_inputs else KEPT
    required = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    for attempt in range(TRIES):
        given = Operands(inputs, dice.integer(1, max(len(inputs[0]) - 1, 1)) if inputs else 1)
        share = 0.7 * (1 - attempt / TRIES)
        chosen = {name for name in names if name not in kept and dice.chance(share)}
        found = {name: value for name, value in base.items() if name not in chosen}
        if dice.chance(0.2):
            found = {name: value for name, value in found.items() if name in required | kept}
        for name in names:
            if name in chosen or (name in required and name not in found and name not in kept):
                found[name] = draw_field(kind, name, given, dice)
        layer = taken(kind, found, inputs)
        if layer is not None:
            return layer
        if not names:
            break
    return None


def taken(kind: type[Layer], values: Mapping[str, Any], inputs: Shapes) -> Layer | None:
    """The layer with these fields where it takes the inputs and gives something of a moderate size.

    Args:
        kind: Its class.
        values: Its fields.
        inputs: The shapes that it reads.
    """
    if "num_heads" in values and any(math.prod(shape[1:-1]) > TOKENS for shape in inputs):
        return None
    try:
        layer = checked(kind(**values))
        outputs = layer.resolve(inputs).output_shapes(inputs)
    except (SpecError, TypeError):  # a required field that is kept has no base
        return None
    moderate = all(0 < math.prod(shape) <= LARGEST and len(shape) <= 6 for shape in outputs)
    return layer if moderate else None


def draw_field(kind: type[Layer], name: str, given: Operands, dice: Choices) -> Any:
    """A value of a field: of its type, and of a size that its name admits.

    Args:
        kind: The layer's class.
        name: The field's name.
        given: What the layer reads.
        dice: Decides.
    """
    if name == "permutation":
        return tuple(dice.shuffled(range(given.rank)) if dice.chance(0.2) else _without_batch(given.rank, dice))
    if name == "shape":
        return _target(given, dice)
    hint = _hint(kind, name)
    origin: Any = get_origin(hint)
    if name in PER_GATE and origin is tuple:
        return ()
    return _value(name, hint, given, dice)


def _hint(kind: type, name: str) -> Any:
    return _hints(kind)[name]


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _without_batch(rank: int, dice: Choices) -> list[int]:
    return [0, *dice.shuffled(range(1, rank))]


def _target(given: Operands, dice: Choices) -> tuple[int, ...]:
    """A shape for as many values as the input has, or one that it may be repeated to."""
    sizes = list(given.first[1:])
    if dice.chance(0.4):
        return tuple(dice.integer(2, 4) if n == 1 else dice.one([n, -1]) for n in sizes) or (1,)
    rest, found = math.prod(sizes), []
    for _ in range(dice.integer(0, 3)):
        found.append(dice.one(divisors(rest)))
        rest //= found[-1]
    return tuple(dice.shuffled([*found, dice.one([rest, -1])]))


def _value(name: str, hint: Any, given: Operands, dice: Choices) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _value(name, dice.one(args), given, dice)
    if origin is Literal:
        return dice.one(args)
    if origin is tuple:
        return _items(name, args, given, dice)
    if hint is bool:
        return dice.chance(0.5)
    if hint is int:
        return dice.one(list(INTEGERS.get(name, up_to(1, 6))(given)) or [1])
    if hint is float:
        return _number(name, dice)
    return None


def _items(name: str, args: tuple[Any, ...], given: Operands, dice: Choices) -> tuple[Any, ...]:
    if len(args) != 2 or args[1] is not Ellipsis:
        return tuple(_value(name, arg, given, dice) for arg in args)
    if name == "axes":
        return tuple(dice.shuffled(range(given.rank) if dice.chance(0.2) else range(1, given.rank))[: given.several])
    if name == "indices":
        return tuple(_value(name, args[0], given, dice) for _ in range(dice.integer(1, 6)))
    if name == "sizes":
        return _parts(dice.one(given.first[1:] or (1,)), dice) if args[0] is int else (dice.number(4, 40),)
    count = given.several if name in SPATIAL_NAMES else len(given.spatial)
    if name == "repeats":
        count = given.rank - 1
    return tuple(_value(name, args[0], given, dice) for _ in range(count))


def _parts(total: int, dice: Choices) -> tuple[int, ...]:
    """Positive numbers of this sum."""
    found: list[int] = []
    while total > 0:
        found.append(dice.integer(1, total))
        total -= found[-1]
    return tuple(found)


def _number(name: str, dice: Choices) -> float:
    if name in NUMBERS:
        return dice.one(NUMBERS[name])
    if name in PROBABILITIES:
        return dice.number(0.05, 0.95)
    return dice.number(-2.0, -0.1) if dice.chance(0.2) else dice.number(0.05, 3.0)
