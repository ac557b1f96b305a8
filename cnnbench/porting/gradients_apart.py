"""Compares the gradients of two networks from their outputs back, and finds the first weight where they part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.precision import precision
from cnnbench.numerics.budgets import Budget, GradientSetting, gradient_budget
from cnnbench.numerics.oracle import node_call
from cnnbench.numerics.reference import LayerGradients, LayerValues, reference
from cnnbench.porting.alignment import NodePair
from cnnbench.porting.normal_form import PlainNetwork, normal_form
from cnnbench.porting.reading import OwnGradients
from cnnbench.porting.user_code import cotangents_of
from cnnbench.porting.values_apart import ArrayParting, Ran, distance, errors
from cnnbench.spec.graph import Graph, value_names

Array = NDArray[Any]
CONVERTED = 2.0**-22  # of a value: both gradients pass through their frameworks' float32, and the sum of two biases


class PortGradients(NamedTuple):
    """PortGradients of a network by the names of its normal form, and what float32 explains of each.

    Args:
        inputs, weights: The gradients.
        budgets: Largest admitted errors by the same names; empty where they are a framework's own.
    """

    inputs: Mapping[str, Array]
    weights: Mapping[str, Array]
    budgets: Mapping[str, Array]


@dataclass(frozen=True)
class GradientParting(ArrayParting):
    """The first gradient of a weight or an input, from the outputs back, in which two networks differ.

    Args:
        without: Which side's gradient is 0 throughout: ``reference``, ``candidate``, or "".
    """

    without: str = ""


def gradients_of(
    network: PlainNetwork, values: Mapping[str, Array], seed: int, *, budgets: bool = False
) -> PortGradients:
    """The gradients of sum <cotangent, output> at inference in float64, with seeded normal cotangents.

    Args:
        network: In normal form.
        values: Of its nodes.
        seed: Of the cotangents.
        budgets: Whether their float32 budgets are computed too.
    """
    graph = network.graph
    back: dict[str, Array] = {}
    drawn = cotangents_of([values[value].shape for _, value in graph.outputs], seed)
    for (_, value), cotangent in zip(graph.outputs, drawn, strict=True):
        if graph.dtypes[value] == "float":
            back[value] = back.get(value, 0.0) + cotangent
    weights: dict[str, Array] = {}
    admitted: dict[str, Array] = {}
    for node in reversed(graph.nodes):
        names = value_names(node.name, len(graph.output_shapes(node)))
        if not node.layer.differentiable or not any(name in back for name in names):
            continue
        call = node_call(graph, node, network.arrays, tuple(values[value] for value in node.inputs), None)
        floats = [name for name in names if graph.dtypes[name] == "float"]
        given = tuple(np.asarray(back.pop(name, np.zeros(values[name].shape))) for name in floats)
        found = reference().gradient(call, given)
        specs = node.layer.weights(graph.input_shapes(node))
        full = [f"{node.owner}.{spec.name}" for spec in specs]
        _add(back, node.inputs, found.inputs)
        _add(weights, full, found.weights)
        if budgets:
            results = LayerValues(tuple(values[name] for name in names), call.state)
            setting = GradientSetting(call, results, precision("float32"), reference(), given, found)
            _admit(admitted, (*node.inputs, *full), found, gradient_budget(setting))
    inputs = {item.name: back.get(item.name, np.zeros(values[item.name].shape)) for item in graph.inputs}
    return PortGradients({name: inputs[name] for name in inputs if graph.dtypes[name] == "float"}, weights, admitted)


def _add(total: dict[str, Array], names: Sequence[str], arrays: Sequence[Array | None]) -> None:
    for name, array in zip(names, arrays, strict=True):
        if array is not None:
            total[name] = total.get(name, 0.0) + np.asarray(array, np.float64)


def _admit(total: dict[str, Array], names: Sequence[str], found: LayerGradients, budget: Any) -> None:
    every: Iterator[Budget | None] = iter((*budget.inputs, *budget.weights))
    values = (*found.inputs, *found.weights)
    for name, value, item in zip(names, values, every, strict=True):
        if value is not None and item is not None:
            total[name] = total.get(name, 0.0) + np.broadcast_to(np.asarray(item.sharp, np.float64), value.shape)


def own_in_normal_form(graph: Graph, arrays: Mapping[str, Array], own: OwnGradients) -> PortGradients:
    """A framework's own gradients by the names and in the layouts of the network's normal form.

    Args:
        graph: That was read of the model.
        arrays: Its weights and running statistics.
        own: The model's gradients.
    """
    unknown = {name: np.full(array.shape, np.nan) for name, array in arrays.items()}
    wide = {name: np.asarray(array, np.float64) for name, array in own.weights.items()}
    plain = normal_form(graph, {**unknown, **wide})
    weights = {name: array for name, array in plain.arrays.items() if not np.isnan(array).any()}
    for node in graph.nodes:  # the normal form adds two biases to one, whose gradient each of them has
        if getattr(node.layer, "biases", "") == "two" and f"{node.owner}.bias" in weights:
            weights[f"{node.owner}.bias"] = weights[f"{node.owner}.bias"] / 2
    return PortGradients(own.inputs, weights, {})


def gradients_apart(
    pairs: Sequence[NodePair],
    exact: PortGradients,
    ours: PortGradients,
    theirs: PortGradients,
    networks: tuple[Ran, Ran],
) -> tuple[GradientParting | None, int]:
    """The first gradient that differs, in backward order, and how many were compared.

    Args:
        pairs: The aligned nodes, in the order of the reference.
        exact: Those of the reference's graph, with budgets.
        ours: Those of the reference.
        theirs: Those of the candidate.
        networks: The reference and the candidate.
    """
    (one, _), (two, _) = networks
    found: list[GradientParting] = []
    seen: set[str] = set()
    for pair in reversed(pairs):
        specs = pair.reference.layer.weights(one.graph.input_shapes(pair.reference))
        for spec in reversed(specs):
            name, other = (f"{node.owner}.{spec.name}" for node in pair)
            if name in seen or name not in ours.weights or other not in theirs.weights or name not in exact.budgets:
                continue
            seen.add(name)
            places = (pair.reference.owner, pair.candidate.owner, spec.name)
            found += _apart(places, ours.weights[name], theirs.weights[other], exact.budgets[name])
    for a, b in zip(one.graph.inputs, two.graph.inputs, strict=True):
        if a.name in ours.inputs and b.name in theirs.inputs:
            seen.add(a.name)
            budget = exact.budgets.get(a.name, np.asarray(np.finfo(np.float32).tiny))
            found += _apart((a.name, b.name, ""), ours.inputs[a.name], theirs.inputs[b.name], budget)
    return (replace(found[0], number=len(found)) if found else None), len(seen)


def _apart(places: tuple[str, str, str], one: Array, two: Array, budget: Array) -> list[GradientParting]:
    """The difference where it is more than rounding explains."""
    if one.shape != two.shape:
        return []  # then the weights differ, which is said already
    shares = errors(one, two) / (budget + CONVERTED * np.maximum(np.abs(one), np.abs(two)))
    if not shares.size or shares.max() <= 1:
        return []
    without = next((name for name, array in (("reference", one), ("candidate", two)) if not array.any()), "")
    apart = distance(two if without == "reference" else one, one if without == "reference" else two)
    found = GradientParting.of(places[:2], one, two, apart, float(shares.max()))
    return [replace(found, name=places[2], without=without)]
