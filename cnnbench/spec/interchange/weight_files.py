"""Fits the weights of a file to a network by name, or by order, role and shape."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from cnnbench.errors import DataError
from cnnbench.spec.graph import Graph
from cnnbench.spec.interchange.fitting import (
    FileArrays,
    Fitted,
    KerasArrays,
    each_once,
    every_use,
    expected_shapes,
    shared_names,
)
from cnnbench.spec.interchange.keras_weights import fit_keras
from cnnbench.spec.interchange.order_fitting import in_order
from cnnbench.spec.interchange.parametrized_weights import joined
from cnnbench.spec.interchange.state_dict_names import is_unused
from cnnbench.spec.interchange.timm_weights import with_own_standardization
from cnnbench.spec.interchange.wrapped_names import find_names
from cnnbench.spec.layers import Shape
from cnnbench.spec.weights import check_fits

if TYPE_CHECKING:
    from cnnbench.spec.weights import Array, Arrays


def match(graph: Graph, arrays: Arrays, *, where: str = "weights") -> dict[str, Array]:
    """The arrays of ``fit``, where the network of the file computes the same.

    Args:
        graph: The network.
        arrays: As ``WeightReader.read`` gives them.
        where: What messages call the file.

    Raises:
        DataError: With the list of what does not fit, or of what is computed otherwise.
    """
    fitted = fit(graph, arrays, where=where)
    refuse_differences(graph, fitted, where=where)
    return fitted.arrays


def refuse_differences(graph: Graph, fitted: Fitted, *, where: str) -> None:
    """Raises DataError that lists where the network of the file computes something else.

    Args:
        graph: The network.
        fitted: What ``fit`` found.
        where: What messages call the file.
    """
    more = len(fitted.differences) - 8
    if fitted.differences:
        raise DataError(
            f"the weights fit {graph.name}, but their own network computes something else",
            where=where,
            received="; ".join(fitted.differences[:8]) + (f"; and {more} more" if more > 0 else ""),
            remedy="cnnbench weights import --accept-differences writes them all the same",
        )


def fit(graph: Graph, arrays: Arrays, *, where: str = "weights") -> Fitted:
    """The arrays by the full names of ``graph``.

    By name where the file has the network's names, or those of timm or torchvision for it, behind any prefix
    (``module.``, ``net.``, ``encoder.``); what counts steps or follows from sizes is left aside. A file that has none
    of these names is fitted by order, which is said: the k-th ``weight`` of the file is the k-th ``weight`` of the
    network, and so for every role, unless arrays of one shape could be exchanged. Files of Keras are fitted by the
    names of its applications.

    Args:
        graph: The network.
        arrays: As ``WeightReader.read`` gives them.
        where: What messages call the file.

    Raises:
        DataError: With the list of what does not fit.
    """
    if isinstance(arrays, KerasArrays):
        return fit_keras(graph, arrays, where)
    notes = list(arrays.notes) if isinstance(arrays, FileArrays) else []
    expected, aliases = expected_shapes(graph), shared_names(graph)
    known = {**expected, **every_use(graph)} if aliases else expected
    arrays, joining = joined(arrays, {*expected, *aliases}, where)
    notes += joining
    used = {name: array for name, array in arrays.items() if name in expected or not is_unused(name)}
    named = find_names(graph.name, used, known, len(expected), where)
    given = {ours: used[theirs] for theirs, ours in named.names.items()}
    notes += named.notes
    by_name = any(name in known for name in given)
    notes += _without_integers(given, known if by_name else {}, where)
    if not by_name:
        notes.append(f"by order, as no name in the file is one of {graph.name}'s")
        return Fitted(_by_order(graph, expected, aliases, given, where), tuple(notes))
    given = each_once(given, aliases, where)
    given = {name: _without_ones(array, expected.get(name)) for name, array in given.items()}
    check_fits(graph, given, where=where)
    if named.dialect == "timm":
        notes += with_own_standardization(graph, given)
    return Fitted({name: given[name] for name in expected}, tuple(notes))


def _without_integers(given: dict[str, Array], known: Collection[str], where: str) -> list[str]:
    """Takes out the arrays of other than floating-point numbers, which are buffers where the network has no such name.

    Raises:
        DataError: The network has the name.
    """
    others = {name: array for name, array in given.items() if array.dtype.kind != "f"}
    wrong = [f"{name} ({array.dtype})" for name, array in others.items() if name in known or not known]
    if wrong:
        raise DataError(
            "weights are not floating-point numbers",
            where=where,
            received=", ".join(wrong[:8]) + (f", and {len(wrong) - 8} more" if len(wrong) > 8 else ""),
            expected="float16, bfloat16, float32 or float64",
            remedy="export the weights as floats; quantised ones dequantised, with their scales multiplied in",
        )
    for name in others:
        del given[name]
    listed = ", ".join(f"{name} ({array.dtype})" for name, array in others.items())
    return [f"left aside, as no floating-point numbers: {listed}"] if others else []


def _without_ones(array: Array, shape: Shape | None) -> Array:
    """The array in the network's shape where only axes of size 1 are other ones (timm's gains)."""
    same = shape is not None and [n for n in array.shape if n != 1] == [n for n in shape if n != 1]
    return array.reshape(shape) if same and tuple(array.shape) != shape else array


def _by_order(
    graph: Graph, expected: Mapping[str, Shape], aliases: Mapping[str, str], given: Arrays, where: str
) -> dict[str, Array]:
    """The file may repeat what nodes share at each of them."""
    if aliases and len(given) == len(expected) + len(aliases):
        return each_once(in_order(graph.name, every_use(graph), given, where), aliases, where)
    return in_order(graph.name, expected, given, where)
