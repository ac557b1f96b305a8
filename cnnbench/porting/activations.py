"""Compares a network with the saved activations of another program, node by node."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.execution.precision import PrecisionPolicy, precision
from cnnbench.porting.alignment import ordered
from cnnbench.porting.differences import PortDifference
from cnnbench.porting.normal_form import PlainNetwork
from cnnbench.porting.port import PortResult, Side
from cnnbench.porting.rounding import NetworkValues
from cnnbench.porting.values_apart import ValueParting, distance
from cnnbench.spec.passes import lower

SUFFIX = ".npz"

Array = NDArray[Any]


def read_activations(path: Path) -> dict[str, Array]:
    """The arrays of an ``.npz`` file in its order. Raises DataError where there is no such file, or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as found:
            return {name: np.asarray(found[name]) for name in found.files}
    except FileNotFoundError:
        raise DataError("the file of activations does not exist", where=str(path)) from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError("the file holds no arrays of NumPy", where=str(path), received=error) from None


def compare_activations(reference: Side, name: str, found: Mapping[str, Array]) -> PortResult:
    """Compares saved activations with a network, in the order in which they were saved.

    An activation belongs to the node of its name, else to the next node of its shape that comes nearest. Images may
    have their channels last.

    Args:
        reference: The network.
        name: Of the file.
        found: The network's inputs by their names (or ``input0``, ``input1`` ...), and activations after them.

    Raises:
        DataError: An input, or every activation, is missing.
    """
    plain = PlainNetwork(lower(reference.graph), reference.arrays, {})
    inputs, activations = _parted(plain, found, name)
    values = NetworkValues(plain, inputs, _policy(found))
    names = [node.name for node in ordered(plain.graph)]
    differences: list[PortDifference] = []
    parting, start, agreed = None, 0, 0
    for key, array in activations.items():
        place, ours, theirs = _nearest(key, array, names, values, start)
        if place is None:
            text = f"of shape {array.shape}, which no node of the reference has behind the one before"
            differences.append(PortDifference("activation", key, "", "", "", text))
            continue
        start = place + (key != names[place])
        apart, share = distance(ours, theirs), values.share(names[place], theirs)
        if share <= 1:
            agreed += 1
            continue
        text = f"is {apart:.1e} of the largest value apart, {share:.3g} times what {values.policy.name} explains"
        differences.append(PortDifference("activation", names[place], key, "", "", text, size=apart))
        parting = parting or ValueParting.of((names[place], key), ours, theirs, apart, None)
    return PortResult(reference.name, name, tuple(differences), False, {}, parting, agreed)


def _policy(found: Mapping[str, Array]) -> PrecisionPolicy:
    """The narrowest precision that arrays were computed in, as far as their types tell; float32 at most."""
    sizes = {array.dtype.itemsize for array in found.values() if array.dtype.kind == "f"}
    return precision({2: "float16", 8: "float64"}.get(min(sizes, default=4), "float32"))


def _parted(plain: PlainNetwork, found: Mapping[str, Array], name: str) -> tuple[list[Array], dict[str, Array]]:
    rest, inputs = dict(found), []
    for i, item in enumerate(plain.graph.inputs):
        key = next((key for key in (item.name, f"input{i}", *(["input"] if i == 0 else [])) if key in rest), None)
        if key is None:
            raise DataError(
                "the input of the activations is not in the file",
                where=name,
                received=", ".join([*found][:8]),
                expected=f"an array called {item.name!r} or 'input{i}'",
                remedy="np.savez('run.npz', input=images, **activations)",
            )
        array = rest.pop(key)
        inputs.append(_as(array, (len(array), *item.shape)) if item.dtype == "float" else array)
    if not rest:
        raise DataError("the file has no activations beside the input", where=name, received=", ".join(found))
    return inputs, rest


def _as(array: Array, shape: tuple[int, ...]) -> Array:
    """An image with its channels first, in float64."""
    array = np.asarray(array, np.float64)
    turned = np.moveaxis(array, -1, 1) if array.ndim > 2 else array
    return turned if array.shape != shape and turned.shape == shape else array


def _nearest(
    key: str, array: Array, names: list[str], values: NetworkValues, start: int
) -> tuple[int | None, Array, Array]:
    """The place of the node, its value and the activation in the node's layout."""
    if key in names:
        value = values.exact[key]
        return names.index(key), value, _as(array, value.shape)
    shaped = [(place, name, _as(array, values.exact[name].shape)) for place, name in enumerate(names[start:], start)]
    fitting = [(place, name, moved) for place, name, moved in shaped if moved.shape == values.exact[name].shape]
    if not fitting:
        return None, array, array
    close = [place for place, name, moved in fitting if values.share(name, moved) <= 1]
    place = close[0] if close else min((distance(values.exact[n], moved), place) for place, n, moved in fitting)[1]
    value = values.exact[names[place]]
    return place, value, _as(array, value.shape)
