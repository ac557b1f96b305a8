"""Gives a model the weights of the network that it is a port of, whatever its names and layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import SpecError
from cnnbench.porting.alignment import Alignment, NodePair, align
from cnnbench.porting.normal_form import PlainNetwork, normal_form
from cnnbench.spec.graph import Node
from cnnbench.spec.interchange.model_readers import GivenInputs, ModelCode

Arrays = Mapping[str, NDArray[Any]]
_BASE = 4096  # two digits of it number the elements of any model, and float32 holds each
_FIRST = 3.0  # is added, since a reader may take what is 0 or 1 throughout for nothing


def converted(reference: PlainNetwork, code: ModelCode, model: Any, given: GivenInputs) -> Any:
    """A copy of a model with the weights and running statistics of a network, aligned as ``port`` does it.

    Args:
        reference: In normal form, with its arrays.
        code: Of the model's framework.
        model: A live model.
        given: What is known of its inputs.

    Raises:
        SpecError: A layer with weights has no counterpart, or one of another shape; or the model's graph computes a
            weight from others.
    """
    read = code.read(model, given)
    theirs = normal_form(read.graph, read.arrays)
    wanted = _wanted(align(reference, theirs), reference, theirs)
    held = code.weights(model)
    flat = np.concatenate([np.asarray(array, np.float64).reshape(-1) for array in held])
    places = _places(code, model, given, held)
    seen = np.zeros(flat.size, bool)
    for name, array in wanted.items():
        at = places[name].reshape(-1)
        if at.size != array.size or not (at == np.floor(at)).all() or seen[at.astype(np.int64)].any():
            raise SpecError("the model's graph computes a weight from others", where=name, remedy="set it by hand")
        seen[at.astype(np.int64)] = True
        flat[at.astype(np.int64)] = array.reshape(-1)
    return code.with_weights(model, _split(flat, held))


def _split(flat: NDArray[Any], like: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    parts = np.split(flat, np.cumsum([array.size for array in like])[:-1])
    return [part.reshape(array.shape) for part, array in zip(parts, like, strict=True)]


def _places(code: ModelCode, model: Any, given: GivenInputs, held: Sequence[NDArray[Any]]) -> Arrays:
    """For each array of the normal form the places of its elements among the model's, found by reading numbers."""
    numbers = np.arange(sum(array.size for array in held), dtype=np.float64)
    digits = []
    for digit in (numbers // _BASE, numbers % _BASE):
        read = code.read(code.with_weights(model, _split(digit + _FIRST, held)), given)
        digits.append(normal_form(read.graph, read.arrays).arrays)
    high, low = digits
    return {name: (np.asarray(high[name], np.float64) - _FIRST) * _BASE + low[name] - _FIRST for name in high}


def _wanted(found: Alignment, ours: PlainNetwork, theirs: PlainNetwork) -> dict[str, NDArray[Any]]:
    """What the candidate's arrays become, by their names in its normal form."""
    wanted: dict[str, NDArray[Any]] = {}
    for pair in found.pairs:
        one, two = ({spec.name for spec in _specs(node, of)} for node, of in zip(pair, (ours, theirs), strict=True))
        for role in sorted(one | two):
            name, other = (f"{node.owner}.{role}" for node in pair)
            array, held = ours.arrays.get(name), theirs.arrays.get(other)
            if array is None and held is not None and role == "bias":
                array = np.zeros(held.shape)
            if held is None and array is not None and role == "bias" and not array.any():
                continue
            if array is None or held is None or array.shape != held.shape:
                raise _unlike(pair, role, array, held)
            wanted[other] = np.asarray(array, np.float64)
    for nodes, network, side in ((found.missing, ours, "model"), (found.extra, theirs, "reference")):
        left = [node.name for node in nodes if _specs(node, network)]
        if left:
            raise SpecError(f"layers with weights have no counterpart in the {side}", received=", ".join(left[:8]))
    return wanted


def _specs(node: Node, network: PlainNetwork) -> tuple[Any, ...]:
    shapes = network.graph.input_shapes(node)
    return (*node.layer.weights(shapes), *node.layer.state(shapes))


def _unlike(pair: NodePair, role: str, one: Any, two: Any) -> SpecError:
    shapes = ["no such array" if array is None else "x".join(map(str, array.shape)) for array in (one, two)]
    where = f"{role} of {pair.reference.name} and {pair.candidate.name}"
    return SpecError("two layers do not have the same arrays", where=where, received=shapes[1], expected=shapes[0])
