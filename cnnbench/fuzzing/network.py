"""Draws a random valid network from a seed and a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cnnbench.fuzzing.choices import Choices
from cnnbench.fuzzing.growth import GrowingNetwork, shared_cases
from cnnbench.spec.graph import Graph
from cnnbench.spec.layers import Shape
from cnnbench.spec.streams import stream

FOCUS = 3  # kinds of a network that come in turn, so that none stays unseen
USUAL = (
    *("conv", "batch_norm", "relu", "add", "max_pool", "avg_pool", "concat", "linear", "flatten", "global_avg_pool"),
    *("multiply", "pad", "conv_transpose", "softmax", "layer_norm", "transpose", "reshape", "slice", "resize"),
    "reduce",
)


@dataclass(frozen=True)
class DrawnNetwork:
    """A network of the sequence that a seed stands for.

    Args:
        seed, number: From which it was drawn.
        graph: The network.
        draws: How an input's values are drawn, where normal numbers would not do.
    """

    seed: int
    number: int
    graph: Graph
    draws: Mapping[str, Callable[[Any, Shape], Any]]


def fuzzed_kinds() -> tuple[str, ...]:
    """Every kind that networks are drawn from: those of the core and of plugins."""
    return tuple(shared_cases())


def kinds_in_turn(seed: int, number: int) -> list[str]:
    """The kinds that the network of this number is to hold: all of them, shuffled, over and over."""
    every = fuzzed_kinds()
    found = []
    for place in range(number * FOCUS, (number + 1) * FOCUS):
        turn, position = divmod(place, len(every))
        found.append(Choices(stream(seed, "fuzz kinds", step=turn)).shuffled(every)[position])
    return found


def draw_network(seed: int, number: int) -> DrawnNetwork:
    """The network of this number in the sequence of a seed; the same wherever it is drawn."""
    dice = Choices(stream(seed, "fuzz network", step=number))
    growing = GrowingNetwork(f"fuzz-{seed}-{number}", dice)
    growing.start()
    wanted = [*kinds_in_turn(seed, number), *(dice.one(USUAL) for _ in range(dice.integer(2, 7)))]
    for kind in dice.shuffled(wanted):
        growing.place(kind)
    return DrawnNetwork(seed, number, growing.finish(), growing.draws)
