"""Fits arrays without the network's names by their order, where their numbers bear the order out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from cnnbench.errors import DataError
from cnnbench.spec.layers import Shape

if TYPE_CHECKING:
    from cnnbench.spec.weights import Array, Arrays

RENAME = "rename the arrays to the network's names (cnnbench weights init NETWORK, then weights inspect, lists them)"


def in_order(network: str, expected: Mapping[str, Shape], given: Arrays, where: str) -> dict[str, Array]:
    """The k-th array of each role for the k-th of the network, each of equal shape.

    The role is the last part of a name. Arrays of one module stay together. Where modules of equal arrays could be
    exchanged, their names must be alike but for numbers that grow in the order of the file (``features.0``,
    ``features.3``): otherwise nothing says which is which.

    Args:
        network: What messages call it.
        expected: Shapes by the network's names, in its order.
        given: Arrays by the file's names, in its order.
        where: What messages call the file.

    Raises:
        DataError: They do not fit, or could be exchanged.
    """
    if len(given) > 1 and _is_alphabetical(given):
        raise DataError(
            f"no name in the file is one of {network}'s, and its names are in alphabetical order, which says "
            "nothing of the layers' order",
            where=where,
            received=", ".join(list(given)[:4]) + " …",
            expected=", ".join(list(expected)[:4]) + " …",
            remedy=RENAME,
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
            f"the weights do not fit {network}, by name or by order",
            where=where,
            received=shown,
            expected=f"{len(expected)} arrays",
        )
    _refuse_exchangeable(network, pairs, given, where)
    return {name: given[pairs[name]] for name in expected}


def _refuse_exchangeable(network: str, pairs: Mapping[str, str], given: Arrays, where: str) -> None:
    for ours, theirs in _torn(pairs):
        raise DataError(
            f"no name in the file is one of {network}'s, and by order one node takes arrays of several modules",
            where=where,
            received=f"{ours} takes {' and '.join(theirs)}",
            remedy=RENAME,
        )
    alike: dict[tuple[tuple[str, Shape], ...], list[str]] = {}
    for module, names in _modules(given).items():
        signature = tuple(sorted((_role(name), tuple(given[name].shape)) for name in names))
        alike.setdefault(signature, []).append(module)
    for signature, modules in alike.items():
        for first, second in pairwise(modules):
            if not _numbered(first, second):
                raise DataError(
                    f"no name in the file is one of {network}'s, and by order arrays of one shape could be exchanged",
                    where=where,
                    received=f"{first} and {second}, each with "
                    + ", ".join(f"{role} {shape}" for role, shape in signature),
                    expected="the network's names, or names that differ in growing numbers only",
                    remedy=RENAME,
                )


def _torn(pairs: Mapping[str, str]) -> Iterable[tuple[str, list[str]]]:
    """The nodes of ours whose arrays come from several modules."""
    sources: dict[str, list[str]] = {}
    for ours, theirs in pairs.items():
        sources.setdefault(ours.rpartition(".")[0], []).append(theirs.rpartition(".")[0])
    for node, modules in sources.items():
        if len(set(modules)) > 1:
            yield node, sorted(set(modules))


def _numbered(first: str, second: str) -> bool:
    """Whether the names differ in numbers only, and the second's are the greater ones."""
    one, two = re.split(r"(\d+)", first), re.split(r"(\d+)", second)
    if one[::2] != two[::2]:
        return False
    return [int(part) for part in one[1::2]] < [int(part) for part in two[1::2]]


def _role(name: str) -> str:
    return name.rpartition(".")[2]


def _modules(names: Iterable[str]) -> dict[str, list[str]]:
    modules: dict[str, list[str]] = {}
    for name in names:
        modules.setdefault(name.rpartition(".")[0], []).append(name)
    return modules


def _by_role(names: Iterable[str]) -> dict[str, list[str]]:
    roles: dict[str, list[str]] = {}
    for name in names:
        roles.setdefault(_role(name), []).append(name)
    return roles


def _is_alphabetical(arrays: Arrays) -> bool:
    """Whether the names of each dtype are sorted, as safetensors writes them."""
    groups: dict[str, list[str]] = {}
    for name, array in arrays.items():
        groups.setdefault(str(array.dtype), []).append(name)
    return all(names == sorted(names) for names in groups.values())
