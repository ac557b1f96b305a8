"""Weights from files of several formats, fitted to a network by name, or by order, role and shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cnnbench.errors import DataError
from cnnbench.spec.graph import Graph
from cnnbench.spec.interchange.fitting import Fitted, KerasArrays, each_once, every_use, expected_shapes, shared_names
from cnnbench.spec.interchange.keras_weights import fit_keras
from cnnbench.spec.interchange.state_dict_names import is_unused, translated
from cnnbench.spec.interchange.timm_weights import with_own_standardization
from cnnbench.spec.layers import Shape
from cnnbench.spec.weights import check_fits, load

if TYPE_CHECKING:
    from cnnbench.spec.weights import Array, Arrays

_WRAPPER = "module."  # what PyTorch's DataParallel puts before every name


@dataclass(frozen=True)
class WeightReader:
    """A file format of weights.

    Args:
        name: The format, for messages and ``doctor``.
        suffixes: The file suffixes that it reads, in lower case and with their dot.
        read: (path) -> arrays by name in the file's order, in canonical layouts (convolution OIHW, linear [out, in]).
            Raises DataError where the file is not valid, UnavailableError where a package that it needs is missing.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Path], dict[str, Array]]


SAFETENSORS = WeightReader("safetensors", (".safetensors",), load)


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

    By name where the file has the network's names, or those of timm or torchvision for it (after PyTorch's
    ``module.``; what counts steps or follows from sizes is left aside). A file that has none of these names is fitted
    by order: the k-th ``weight`` of the file is the k-th ``weight`` of the network, and so for every role (the last
    part of a name), each of equal shape. Names in alphabetical order say nothing of the layers' order, so such a file
    is not fitted by order. Files of Keras are fitted by the names of its applications.

    Args:
        graph: The network.
        arrays: As ``WeightReader.read`` gives them.
        where: What messages call the file.

    Raises:
        DataError: With the list of what does not fit.
    """
    if isinstance(arrays, KerasArrays):
        return fit_keras(graph, arrays, where)
    integers = [name for name, array in arrays.items() if array.dtype.kind != "f" and not is_unused(name)]
    if integers:
        kinds = ", ".join(f"{name} ({arrays[name].dtype})" for name in integers[:8])
        raise DataError("weights are not floating-point numbers", where=where, received=kinds)
    expected = expected_shapes(graph)
    used = [name for name in arrays if name in expected or not is_unused(name)]
    given = {_bare(name): arrays[name] for name in used}
    if len(given) < len(used):
        raise DataError("two names differ only in 'module.'", where=where)
    dialect, names = translated(graph.name, list(given), expected)
    given = {names[name]: array for name, array in given.items()}
    aliases = shared_names(graph)
    if not any(name in given for name in (*expected, *aliases)):
        return Fitted(_by_order(graph, expected, aliases, given, where))
    given = each_once(given, aliases, where)
    given = {name: _without_ones(array, expected.get(name)) for name, array in given.items()}
    check_fits(graph, given, where=where)
    notes = [f"by {dialect}'s names"] if dialect else []
    if dialect == "timm":
        notes += with_own_standardization(graph, given)
    return Fitted({name: given[name] for name in expected}, tuple(notes))


def _without_ones(array: Array, shape: Shape | None) -> Array:
    """The array in the network's shape where only axes of size 1 are other ones (timm's gains)."""
    same = shape is not None and [n for n in array.shape if n != 1] == [n for n in shape if n != 1]
    return array.reshape(shape) if same and tuple(array.shape) != shape else array


def _bare(name: str) -> str:
    return name.removeprefix(_WRAPPER)


def _role(name: str) -> str:
    return name.rpartition(".")[2]


def _by_role(names: Mapping[str, object]) -> dict[str, list[str]]:
    roles: dict[str, list[str]] = {}
    for name in names:
        roles.setdefault(_role(name), []).append(name)
    return roles


def _by_order(
    graph: Graph, expected: Mapping[str, Shape], aliases: Mapping[str, str], given: Arrays, where: str
) -> dict[str, Array]:
    """The k-th array of each role for the k-th of the network; the file may repeat what nodes share at each of them."""
    if aliases and len(given) == len(expected) + len(aliases):
        return each_once(_in_order(graph, every_use(graph), given, where), aliases, where)
    return _in_order(graph, expected, given, where)


def _in_order(graph: Graph, expected: Mapping[str, Shape], given: Arrays, where: str) -> dict[str, Array]:
    if len(given) > 1 and _is_alphabetical(given):
        raise DataError(
            f"no name in the file is one of {graph.name}'s, and its names are in alphabetical order, which says "
            "nothing of the layers' order",
            where=where,
            received=", ".join(list(given)[:4]) + " …",
            expected=", ".join(list(expected)[:4]) + " …",
            remedy="rename the arrays to the network's names (cnnbench show lists them)",
        )
    wanted, found = _by_role(expected), _by_role(given)
    pairs: dict[str, str] = {}
    problems: list[str] = []
    for role in dict.fromkeys((*wanted, *found)):
        ours, theirs = wanted.get(role, []), found.get(role, [])
        if len(ours) != len(theirs):
            problems.append(f"{len(theirs)} arrays named {role!r}, expected {len(ours)}")
        pairs.update(zip(ours, theirs, strict=False))
    problems += [
        f"{theirs} {tuple(given[theirs].shape)} stands where {ours} {expected[ours]} does"
        for ours, theirs in pairs.items()
        if tuple(given[theirs].shape) != expected[ours]
    ]
    if problems:
        shown = "; ".join(problems[:12]) + (f"; and {len(problems) - 12} more" if len(problems) > 12 else "")
        raise DataError(
            f"the weights do not fit {graph.name}, by name or by order",
            where=where,
            received=shown,
            expected=f"{len(expected)} arrays",
        )
    return {name: given[pairs[name]] for name in expected}


def _is_alphabetical(arrays: Arrays) -> bool:
    """Whether the names of each dtype are sorted, as safetensors writes them."""
    groups: dict[str, list[str]] = {}
    for name, array in arrays.items():
        groups.setdefault(str(array.dtype), []).append(name)
    return all(names == sorted(names) for names in groups.values())
