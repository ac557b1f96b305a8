"""Weights of PyTorch that a checkpoint holds in parts: normalised, or masked by pruning."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from cnnbench.errors import DataError

if TYPE_CHECKING:
    from cnnbench.spec.weights import Array, Arrays

_PARAMETRIZED = re.compile(r"^((?:.*\.)?)parametrizations\.(\w+)\.(original[01]?)$")
_PARTS = {"original0": "_g", "original1": "_v", "original": "_orig"}  # the newer names of the same parts


def joined(arrays: Arrays, known: Collection[str], where: str) -> tuple[dict[str, Array], list[str]]:
    """The arrays with each weight in one piece, and a note that says which were in parts.

    A normalised weight is v g / ||v||, its norm taken over the axes on which g has one element
    (``torch.nn.utils.weight_norm``); a pruned one is its original times its mask (``torch.nn.utils.prune``).

    Args:
        arrays: By the names of a state dict.
        known: The network's names, which are no parts.
        where: What messages call the file.

    Raises:
        DataError: A weight is stored with a spectral norm or a parametrization of another kind.
    """
    parts = {_older(name): name for name in arrays if name not in known}
    found: dict[str, Array] = {}
    stems: dict[str, str] = {}
    for part, name in parts.items():
        for first, second, function in (("_v", "_g", _normalized), ("_orig", "_mask", _masked)):
            stem = part.removesuffix(first)
            other = parts.get(stem + second)
            if stem != part and other is not None and _fits(arrays[name], arrays[other]):
                found[name] = function(arrays[name], arrays[other])
                stems |= {name: stem, other: ""}
    _refuse_others([part for part, name in parts.items() if name not in stems], where)
    if not found:
        return dict(arrays), []
    whole = {stems.get(name, name): found.get(name, array) for name, array in arrays.items() if stems.get(name) != ""}
    listed = ", ".join(stems[name] for name in list(found)[:8]) + (" …" if len(found) > 8 else "")
    return whole, [f"put together from a direction and its length, or a weight and its mask: {listed}"]


def _older(name: str) -> str:
    """``conv.parametrizations.weight.original0`` is ``conv.weight_g``; other names stay."""
    place = _PARAMETRIZED.match(name)
    return f"{place[1]}{place[2]}{_PARTS[place[3]]}" if place else name


def _fits(one: Array, other: Array) -> bool:
    """Whether the second array has the first one's shape but for axes of one element."""
    return other.ndim in (0, one.ndim) and all(n in (1, m) for n, m in zip(other.shape, one.shape, strict=False))


def _normalized(direction: Array, length: Array) -> Array:
    axes = tuple(i for i in range(direction.ndim) if length.ndim == 0 or length.shape[i] == 1)
    wide = direction.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):  # a direction of zeros has none in PyTorch either
        found: Array = wide * (length / np.sqrt(np.square(wide).sum(axes, keepdims=True)))
    return found.astype(direction.dtype)


def _masked(weight: Array, mask: Array) -> Array:
    found: Array = weight * mask.astype(weight.dtype)
    return found


def _refuse_others(left: list[str], where: str) -> None:
    stored = [name for name in left if name.endswith("_orig") or ".parametrizations." in name]
    if stored:
        raise DataError(
            "weights are stored with a parametrization that is not read",
            where=where,
            received=", ".join(stored[:8]),
            expected="weights as they are used, with torch.nn.utils.weight_norm, or pruned",
            remedy="for each of these modules torch.nn.utils.remove_spectral_norm(module), or "
            "torch.nn.utils.parametrize.remove_parametrizations(module, NAME); then save the state dict",
        )
