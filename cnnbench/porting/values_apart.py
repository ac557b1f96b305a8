"""Runs two aligned networks on the same images in float64 and finds the first node whose values differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import CnnbenchError
from cnnbench.execution.precision import precision
from cnnbench.numerics.budgets import Setting, forward_budget
from cnnbench.numerics.oracle import node_call
from cnnbench.numerics.reference import reference
from cnnbench.porting.alignment import NodePair
from cnnbench.porting.differences import PortDifference
from cnnbench.porting.normal_form import PlainNetwork
from cnnbench.spec.graph import Node, value_names
from cnnbench.spec.weights import save

Array = NDArray[Any]
Values = Mapping[str, Array]
Ran = tuple[PlainNetwork, Values]  # a network in normal form with its values
SAME = 1e-9  # of the largest value: float64 rounds at 1e-16, and weights that were converted through float32 are equal
FORMAT = "cnnbench-port-1"


@dataclass(frozen=True)
class Parting:
    """Where two arrays of corresponding nodes differ most.

    Args:
        node, other: The node of the reference and the one of the candidate.
        apart: The largest difference, relative to the largest value.
        budgets: The same in sharp float32 budgets of this layer; None where there is none, or shapes differ.
        index: Of the worst element; () where shapes differ.
        reference, candidate: Both values there.
    """

    node: str
    other: str
    apart: float
    budgets: float | None
    index: tuple[int, ...]
    reference: float
    candidate: float

    @classmethod
    def of(cls, places: tuple[str, str], one: Array, two: Array, apart: float, budgets: float | None) -> Self:
        """With the worst element of two arrays.

        Args:
            places: The nodes.
            one: The reference's array.
            two: The candidate's array.
            apart: As above.
            budgets: As above.
        """
        if one.shape != two.shape:
            return cls(*places, apart, None, (), float("nan"), float("nan"))
        difference = errors(one, two)
        index = tuple(int(i) for i in np.unravel_index(int(difference.argmax()), difference.shape))
        return cls(*places, apart, budgets, index, float(one[index]), float(two[index]))

    @property
    def place(self) -> str:
        """Both nodes, or the name that both have."""
        return self.node if self.node == self.other else f"{self.node} ({self.other})"


@dataclass(frozen=True)
class ValueParting(Parting):
    """The difference between the outputs of two corresponding nodes. Args: file: What reproduces it."""

    file: str = ""


@dataclass(frozen=True)
class ArrayParting(Parting):
    """The first of several arrays that differ.

    Args:
        name: The array of the node; "" for an input or an output, which ``node`` and ``other`` then name.
        number: How many differ.
    """

    name: str = ""
    number: int = 1


def values_of(network: PlainNetwork, inputs: Sequence[Array]) -> dict[str, Array]:
    """Every value of a network in float64.

    Args:
        network: In normal form.
        inputs: In the order of its inputs.
    """
    graph = network.graph
    values: dict[str, Array] = dict(zip((item.name for item in graph.inputs), inputs, strict=True))
    for node in graph.nodes:
        made = _outputs(network, node, [values[value] for value in node.inputs])
        values.update(zip(value_names(node.name, len(made)), made, strict=True))
    return values


def _outputs(network: PlainNetwork, node: Node, inputs: Sequence[Array]) -> tuple[Array, ...]:
    call = node_call(network.graph, node, network.arrays, tuple(inputs), None)
    return reference().forward(call).outputs


def distance(one: Array, two: Array) -> float:
    """The largest difference relative to the largest finite value of the first; infinite for other shapes."""
    if one.shape != two.shape:
        return float("inf")
    largest = float(np.abs(one, where=np.isfinite(one), out=np.zeros(one.shape)).max(initial=0.0)) or 1.0
    return float(errors(one, two).max(initial=0.0)) / largest


def errors(one: Array, two: Array) -> Array:
    """|one - two| of each element: 0 where both are NaN or the same infinity, infinite where only one of them is."""
    first, second = np.asarray(one, np.float64), np.asarray(two, np.float64)
    with np.errstate(invalid="ignore"):
        found = np.abs(first - second)
    found[np.isnan(found)] = np.inf
    found[(first == second) | (np.isnan(first) & np.isnan(second))] = 0.0
    return found


def first_parting(
    pairs: Sequence[NodePair],
    ours: Ran,
    theirs: Ran,
    folder: Path | None,
) -> ValueParting | None:
    """The first pair whose outputs differ, in the order of the reference; None where all agree.

    Args:
        pairs: The aligned nodes.
        ours: The reference with its values.
        theirs: The candidate with its values.
        folder: Where the file that reproduces it goes; None for nowhere.
    """
    for pair in pairs:
        one, two = ours[1][pair.reference.name], theirs[1][pair.candidate.name]
        if distance(one, two) > SAME:
            found = parting(pair, ours, theirs)
            return found if folder is None else replace(found, file=str(_write(pair, ours, theirs, folder)))
    return None


def parting(pair: NodePair, ours: Ran, theirs: Ran) -> ValueParting:
    """The difference between the outputs of a pair of nodes, with its worst element.

    Args:
        pair: The nodes.
        ours: The reference with its values.
        theirs: The candidate with its values.
    """
    one, two = ours[1][pair.reference.name], theirs[1][pair.candidate.name]
    share = _share(pair.reference, ours, errors(one, two)) if one.shape == two.shape else None
    return ValueParting.of((pair.reference.name, pair.candidate.name), one, two, distance(one, two), share)


def _share(node: Node, ours: Ran, difference: Array) -> float:
    """The difference in sharp float32 budgets of the reference's layer."""
    network, values = ours
    call = node_call(network.graph, node, network.arrays, tuple(values[value] for value in node.inputs), None)
    budget = forward_budget(Setting(call, reference().forward(call), precision("float32"), reference()))
    admitted = np.maximum(np.asarray(budget.outputs[0].sharp, np.float64), np.finfo(np.float32).tiny)
    return float((difference / admitted).max(initial=0.0))


def measured(
    found: Sequence[PortDifference], pairs: Sequence[NodePair], ours: Ran, theirs: PlainNetwork
) -> list[PortDifference]:
    """The differences with their sizes, the largest first: each pair's candidate on the reference's operands.

    Args:
        found: The differences.
        pairs: The aligned nodes.
        ours: The reference with its values.
        theirs: The candidate.
    """
    by_name = {pair.reference.name: pair for pair in pairs}
    sizes: dict[str, float | None] = {}
    for item in found:
        if item.what in ("field", "weight", "kind") and not item.training and item.node not in sizes:
            sizes[item.node] = _local(by_name[item.node], ours, theirs)
    known = [
        replace(item, size=sizes.get(item.node)) if item.what in ("field", "weight", "kind") else item for item in found
    ]
    return sorted(known, key=lambda item: (item.training, -_weight(item)))


def _weight(item: PortDifference) -> float:
    return float("inf") if item.size is None and not item.training else item.size or 0.0


def _local(pair: NodePair, ours: Ran, theirs: PlainNetwork) -> float | None:
    _, values = ours
    operands = [values[value] for value in pair.reference.inputs]
    if [x.shape[1:] for x in operands] != [shape[1:] for shape in theirs.graph.input_shapes(pair.candidate)]:
        return None
    try:
        made = _outputs(theirs, pair.candidate, operands)[0]
    except (CnnbenchError, ValueError):
        return None
    return distance(values[pair.reference.name], made)


def _write(pair: NodePair, ours: Ran, theirs: Ran, folder: Path) -> Path:
    """Both nodes with their operands, arrays and outputs."""
    arrays: dict[str, Array] = {}
    header: dict[str, Any] = {}
    for side, (network, values), node in (("reference", ours, pair.reference), ("candidate", theirs, pair.candidate)):
        header[side] = network.graph.single(node.name).to_json()
        arrays[f"{side}.output"] = np.asarray(values[node.name])
        arrays |= {f"{side}.input{i}": np.asarray(values[value]) for i, value in enumerate(node.inputs)}
        shapes = network.graph.input_shapes(node)
        for spec in (*node.layer.weights(shapes), *node.layer.state(shapes)):
            arrays[f"{side}.array.{spec.name}"] = np.asarray(network.arrays[f"{node.owner}.{spec.name}"])
    safe = "".join(c if c.isalnum() or c in ".-_" else "_" for c in pair.reference.name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"port-{safe}.safetensors"
    save(arrays, path, metadata={"format": FORMAT, "nodes": json.dumps(header)})
    return path
