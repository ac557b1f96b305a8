"""Compares one forward pass of two networks in training mode: running statistics after it, and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.precision import precision
from cnnbench.numerics.budgets import Setting, forward_budget
from cnnbench.numerics.oracle import node_call
from cnnbench.numerics.reference import reference
from cnnbench.porting.alignment import NodePair
from cnnbench.porting.gradients_apart import CONVERTED
from cnnbench.porting.normal_form import PlainNetwork
from cnnbench.porting.values_apart import SAME, ArrayParting, distance, errors
from cnnbench.spec.graph import value_names

Array = NDArray[Any]
MEAN, VARIANCE = "running_mean", "running_var"
_FITS = 1e-4  # of a statistic's change: what is left of it where one momentum explains it


class BatchStatistics(NamedTuple):
    """The mean and the biased variance of a batch at a batch norm, and over how many values each was taken."""

    mean: Array
    variance: Array
    number: int


@dataclass(frozen=True)
class TrainedValues:
    """What a network gives in one forward pass in training mode, by the names of its normal form.

    Args:
        outputs: By name; those that are not known are left out.
        state: Running statistics after the pass, by full name.
        count: How many outputs there are in training mode.
        budgets: What float32 explains of each statistic; empty where the pass is a framework's own.
        batch: The batch's own statistics by node; empty likewise.
    """

    outputs: Mapping[str, Array]
    state: Mapping[str, Array]
    count: int
    budgets: Mapping[str, Array] = field(default_factory=dict)
    batch: Mapping[str, BatchStatistics] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingParting(ArrayParting):
    """The first running statistic in which two networks differ after a training pass, or else an output of the pass.

    Args:
        rules: By which rule each side's statistics move, in words; "" where no such rule explains it.
    """

    rules: tuple[str, str] = ("", "")


def trained_values(network: PlainNetwork, inputs: Sequence[Array]) -> TrainedValues:
    """One pass of a network in training mode by the float64 reference, in which nothing is dropped.

    Args:
        network: In normal form.
        inputs: In the order of its inputs.
    """
    graph = network.graph
    values: dict[str, Array] = dict(zip((item.name for item in graph.inputs), inputs, strict=True))
    state: dict[str, Array] = {}
    budgets: dict[str, Array] = {}
    batch: dict[str, BatchStatistics] = {}
    for node in graph.nodes:
        operands = tuple(values[value] for value in node.inputs)
        specs = node.layer.state(graph.input_shapes(node))
        call = node_call(graph, node, network.arrays, operands, {} if specs else None)
        made = reference().forward(call)
        values.update(zip(value_names(node.name, len(made.outputs)), made.outputs, strict=True))
        if not specs:
            continue
        x = operands[0]
        axes = (0, *range(2, x.ndim))
        batch[node.name] = BatchStatistics(x.mean(axis=axes), x.var(axis=axes), x.size // x.shape[1])
        admitted = forward_budget(Setting(call, made, precision("float32"), reference())).state
        for spec, array, budget in zip(specs, made.state, admitted, strict=True):
            name = f"{node.owner}.{spec.name}"
            state[name] = array
            budgets[name] = np.broadcast_to(np.asarray(budget.sharp, np.float64), array.shape)
    outputs = {name: values[value] for name, value in graph.outputs}
    return TrainedValues(outputs, state, len(outputs), budgets, batch)


def training_apart(
    pairs: Sequence[NodePair],
    networks: tuple[PlainNetwork, PlainNetwork],
    exact: TrainedValues,
    ours: TrainedValues,
    theirs: TrainedValues,
) -> tuple[TrainingParting | None, int]:
    """The first difference of two training passes in the order of the reference, and how many arrays were compared.

    Args:
        pairs: The aligned nodes.
        networks: The reference and the candidate.
        exact: The pass of the reference's graph, with budgets.
        ours: The pass of the reference.
        theirs: The pass of the candidate.
    """
    found: list[TrainingParting] = []
    compared = 0
    for pair in pairs:
        for role in (MEAN, VARIANCE):
            name, other = (f"{node.owner}.{role}" for node in pair)
            if name in ours.state and other in theirs.state and name in exact.budgets:
                compared += 1
                item = _statistic(pair, role, (ours.state[name], theirs.state[other]), exact.budgets[name])
                found += [] if item is None else [replace(item, rules=_rules(pair, networks, exact, (ours, theirs)))]
    outputs = list(zip(networks[0].graph.outputs, networks[1].graph.outputs, strict=False))
    for (name, _), (other, _) in outputs:
        if name in ours.outputs and other in theirs.outputs:
            compared += 1
            one, two = ours.outputs[name], theirs.outputs[other]
            if distance(one, two) > SAME:
                found.append(_apart((name, other, ""), one, two, None))
    return (replace(found[0], number=len(found)) if found else None), compared


def _statistic(pair: NodePair, role: str, arrays: tuple[Array, Array], budget: Array) -> TrainingParting | None:
    one, two = (np.asarray(array, np.float64) for array in arrays)
    if one.shape != two.shape:
        return None  # then the layers differ, which is said already
    shares = errors(one, two) / (budget + CONVERTED * np.maximum(np.abs(one), np.abs(two)))
    if not shares.size or shares.max() <= 1:
        return None
    return _apart((pair.reference.name, pair.candidate.name, role), one, two, float(shares.max()))


def _apart(places: tuple[str, str, str], one: Array, two: Array, share: float | None) -> TrainingParting:
    return replace(TrainingParting.of(places[:2], one, two, distance(one, two), share), name=places[2])


def _rules(
    pair: NodePair,
    networks: tuple[PlainNetwork, PlainNetwork],
    exact: TrainedValues,
    passes: tuple[TrainedValues, TrainedValues],
) -> tuple[str, str]:
    batch = exact.batch.get(pair.reference.name)
    if batch is None:
        return "", ""
    texts = []
    for node, network, after in zip(pair, networks, passes, strict=True):
        names = [f"{node.owner}.{role}" for role in (MEAN, VARIANCE)]
        if not all(name in network.arrays and name in after.state for name in names):
            return "", ""
        before, now = ([np.asarray(of[name], np.float64) for name in names] for of in (network.arrays, after.state))
        texts.append(rule_of(before, now, batch))
    return texts[0], texts[1]


def rule_of(before: Sequence[Array], after: Sequence[Array], batch: BatchStatistics) -> str:
    """By which rule running statistics have moved, in words; "" where momentum and the kept variance do not explain it.

    Args:
        before: The running mean and variance before the pass.
        after: The same after it.
        batch: The statistics of the batch.
    """
    if all(np.array_equal(one, two) for one, two in zip(before, after, strict=True)):
        return "they do not move"
    of_mean = _momentum(before[0], after[0], batch.mean)
    bessel = batch.number / max(batch.number - 1, 1)
    kept = {
        kind: _momentum(before[1], after[1], batch.variance * factor)
        for kind, factor in (("biased", 1.0), ("unbiased", bessel))
    }
    parts = [] if of_mean is None else [f"the mean moves by {of_mean:.4g} of the batch's"]
    kinds = {kind: momentum for kind, momentum in kept.items() if momentum is not None}
    if of_mean is not None and len(kinds) > 1:
        kinds = {kind: m for kind, m in kinds.items() if abs(m - of_mean) <= _FITS * of_mean}
    if len(kinds) == 1:
        ((kind, momentum),) = kinds.items()
        parts.append(f"the variance by {momentum:.4g} of the batch's {kind} one")
    return ", ".join(parts)


def _momentum(before: Array, after: Array, batch: Array) -> float | None:
    """The weight of the batch with which a statistic has moved, None where no single one explains it."""
    moved, towards = after - before, batch - before
    size = float((towards**2).sum())
    if not size or not np.isfinite(size):
        return None
    found = float((moved * towards).sum()) / size
    left = float(np.abs(moved - found * towards).max())
    return (
        found
        if left <= _FITS * float(np.abs(moved).max(initial=0.0)) + CONVERTED * float(np.abs(after).max())
        else None
    )
