"""Arrays that one step program of a backend hands to the next one on the device, without a copy to the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableSequence, Sequence
from typing import Any, NamedTuple

from cnnbench.errors import SpecError
from cnnbench.execution.compiled import NativeArray
from cnnbench.execution.loading import BoundGraph


class Received(NamedTuple):
    """Arrays of a mapping that a program holds: (position, array) of its weights and of its running statistics."""

    weights: tuple[tuple[int, Any], ...]
    state: tuple[tuple[int, Any], ...]


def handed(bound: BoundGraph, weights: Sequence[Any], state: Sequence[Any]) -> dict[str, NativeArray]:
    """A program's arrays by full name.

    Args:
        bound: The program's graph.
        weights: In the program's order.
        state: In the program's order.
    """
    bound.require_loaded(weights)
    named = {
        held.spec.name: NativeArray(value, held.channels_last)
        for held, value in zip(bound.weights, weights, strict=True)
    }
    return named | {name: NativeArray(value) for name, value in zip(bound.program.state_names, state, strict=True)}


def received(bound: BoundGraph, given: Mapping[str, NativeArray]) -> Received:
    """Those of the given arrays that a program holds; others, which other networks hold, are left out.

    Raises SpecError where a weight comes in another layout than the program holds it in.
    """
    return Received(tuple(_weights(bound, given)), tuple(_state(bound, given)))


def take_over(
    bound: BoundGraph, given: Mapping[str, NativeArray], weights: MutableSequence[Any], state: MutableSequence[Any]
) -> None:
    """Puts those of the given arrays that a program holds in the places of its own.

    Args:
        bound: The program's graph.
        given: By full name.
        weights: The program's, in its order.
        state: The program's, in its order.
    """
    bound.require_loaded(weights)
    found = received(bound, given)
    for own, taken in ((weights, found.weights), (state, found.state)):
        for position, value in taken:
            own[position] = value


def _weights(bound: BoundGraph, given: Mapping[str, NativeArray]) -> Iterator[tuple[int, Any]]:
    for position, held in enumerate(bound.weights):
        found = given.get(held.spec.name)
        if found is None:
            continue
        if found.channels_last != held.channels_last:
            raise SpecError(
                f"the weight {held.spec.name!r} is held in another layout by the program that hands it over",
                where=bound.source.name,
                remedy="run the programs with layout='channels_first'",
            )
        yield position, found.value


def _state(bound: BoundGraph, given: Mapping[str, NativeArray]) -> Iterator[tuple[int, Any]]:
    for position, name in enumerate(bound.program.state_names):
        if name in given:
            yield position, given[name].value
