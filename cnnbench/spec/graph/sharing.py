"""Which node's weights a node may use: an earlier one's of an equal layer with the same arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from cnnbench.errors import FieldError, did_you_mean
from cnnbench.spec.graph.model import Node
from cnnbench.spec.layers import Layer, Shape, Shapes


@dataclass(frozen=True)
class Holder:
    """The first node that uses some weights, with what it reads: what every other user of them must match."""

    node: Node
    inputs: Shapes


class Holders:
    """The weights of a graph that is being built: who holds them, and who may use them too.

    Args:
        part: Whether a node may name a holder that was left out, as the part of a network does.
    """

    def __init__(self, *, part: bool) -> None:
        self._part = part
        self._owners: dict[str, str] = {}  # of each node so far
        self._holders: dict[str, Holder] = {}  # by owner

    def owner(self, name: str | None) -> str | None:
        """The owner of the weights of the node ``name``, through whatever it shares; None for None.

        Raises:
            SpecError: No such node so far, with the nearest name.
        """
        if name is None or name in self._owners:
            return None if name is None else self._owners[name]
        if self._part:
            return name
        raise FieldError(
            "weights_of",
            f"names no earlier node: {name!r}",
            expected="the name of a node that was added before",
            remedy=did_you_mean(name, self._owners) if self._owners else None,
        )

    def add(self, node: Node, inputs: Shapes) -> None:
        """Takes a node in. Raises SpecError where it may not use the weights that it names."""
        if node.weights_of is not None:
            if not _arrays(node.layer, inputs):
                raise FieldError("weights_of", f"is given, but {node.layer.kind} has no weights", remedy="leave it out")
            if node.owner in self._holders:
                _require_match(node, inputs, self._holders[node.owner])
        self._holders.setdefault(node.owner, Holder(node, inputs))
        self._owners[node.name] = node.owner

    def check(self) -> None:
        """Raises SpecError where a holder that was taken to be left out came later."""
        late = _first_late(self._owners.items())
        if late is not None:
            raise FieldError(
                "weights_of", f"names no earlier node: {late!r} comes later", remedy="let the first node own"
            )


def _first_late(owners: Iterable[tuple[str, str]]) -> str | None:
    """The first owner that stands after a node that uses its weights."""
    used: set[str] = set()
    for name, owner in owners:
        if name in used:
            return name
        if owner != name:
            used.add(owner)
    return None


def _require_match(node: Node, inputs: Shapes, holder: Holder) -> None:
    ours, theirs = node.layer, holder.node.layer
    if type(ours) is not type(theirs):
        raise FieldError(
            "weights_of",
            "names a node of another kind",
            received=f"{holder.node.name!r}, a {theirs.kind}",
            expected=f"a {ours.kind}",
        )
    other = [item for item in _differing(ours, theirs) if item != "padding"]
    if other:
        shown = [", ".join(f"{name}={getattr(layer, name)!r}" for name in other) for layer in (ours, theirs)]
        raise FieldError(
            "weights_of",
            "names a node whose layer differs",
            received=shown[0],
            expected=f"{shown[1]}, as {holder.node.name!r} has (padding alone may differ)",
        )
    found, expected = _arrays(ours, inputs), _arrays(theirs, holder.inputs)
    if found != expected:
        raise FieldError(
            "weights_of",
            "names a node whose weights have other shapes",
            received=", ".join(f"{name} {shape}" for name, shape in found if (name, shape) not in expected),
            expected=", ".join(f"{name} {shape}" for name, shape in expected if (name, shape) not in found)
            + f", as {holder.node.name!r} has",
        )


def _differing(ours: Layer, theirs: Layer) -> list[str]:
    return [item.name for item in fields(ours) if getattr(ours, item.name) != getattr(theirs, item.name)]


def _arrays(layer: Layer, inputs: Shapes) -> list[tuple[str, Shape]]:
    return [(spec.name, spec.shape) for spec in (*layer.weights(inputs), *layer.state(inputs))]
