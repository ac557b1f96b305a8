"""The local check: every node alone on the oracle's operands, against its own error budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets import budget_form
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks.verdict import doubted, gather, joined, judge, of_images
from cnnbench.numerics.choices import Choosing, Chosen, has_choices, nearest_choice
from cnnbench.numerics.comparison import Comparison, Place, compare
from cnnbench.numerics.divergence import ReproducerSource, Reproduction
from cnnbench.numerics.hard_case import hard_oracle
from cnnbench.numerics.oracle import Oracle, behaves_differently_in_training
from cnnbench.numerics.outcome import DEFINED_ONCE, CheckOutcome
from cnnbench.numerics.quantity import Quantity
from cnnbench.numerics.second_opinions import contradicted, defined_once
from cnnbench.numerics.sized_case import sized_oracles
from cnnbench.numerics.subject import Subject
from cnnbench.numerics.teacher_forcing import arrays_of, forced_name, output_names, representatives, teacher_forced
from cnnbench.spec.masks import masks_of

Array = NDArray[Any]
CHUNK_BYTES = 384 * 2**20


def chunks(case: Case, names: Sequence[str]) -> Iterator[list[str]]:
    """The nodes in groups, so that one call serves many.

    The operands and results of a group fit in ``CHUNK_BYTES`` of float32, and so do its weights; or it is one node.
    """
    group: list[str] = []
    held = [0, 0]
    for name in names:
        sizes = _sizes(case, name)
        if group and any(old + new > CHUNK_BYTES // 4 for old, new in zip(held, sizes, strict=True)):
            yield group
            group, held = [], [0, 0]
        group.append(name)
        held = [old + new for old, new in zip(held, sizes, strict=True)]
    if group:
        yield group


def _sizes(case: Case, name: str) -> tuple[int, int]:
    """How many values a node reads and gives, and how many its weights have."""
    graph, node = case.lowered, case.lowered.node(name)
    inputs = graph.input_shapes(node, case.size)
    values = (*inputs, *graph.output_shapes(node, case.size))
    return sum(map(math.prod, values)), sum(math.prod(spec.shape) for spec in node.layer.weights(inputs))


def check_local(subject: Subject, oracle: Oracle) -> CheckOutcome:
    """Every node at inference; at training those that behave differently then, with their running statistics.

    The others are at training too, each layer with its operands' shapes once: a program may take other kernels then.
    Then each layer with its operands' shapes once on hard operands (``hard_operands``), and on other numbers of images.
    """
    if (doubt := contradicted(oracle)) is not None:
        return doubted("local", doubt)
    outcome, hard = _check_nodes(subject, oracle), hard_oracle(oracle)
    if hard is not None and outcome.status == "passed":
        with np.errstate(all="ignore"):
            outcome = joined(outcome, _check_nodes(subject, hard))
    for images, sized in sized_oracles(oracle):
        if outcome.status == "passed":
            outcome = joined(outcome, _check_nodes(subject, sized), *of_images(images))
    return outcome


def _check_nodes(subject: Subject, oracle: Oracle) -> CheckOutcome:
    """Every node of a case."""
    case, graph = oracle.case, oracle.case.lowered
    inference = [node.name for node in graph.nodes]
    training = [node.name for node in graph.nodes if behaves_differently_in_training(graph, node)]
    alike = [name for name in representatives(graph, case.size) if name not in training]
    found = gather(
        _compare_group(subject, oracle, group, in_training)
        for names, in_training in ((inference, False), (training, True), (alike, True))
        for group in chunks(case, names)
    )
    order = {name: i for i, name in enumerate(inference)}
    comparisons = sorted(found.comparisons, key=lambda comparison: order[comparison.use.node])
    at_training = len(training) + len(alike)
    details: dict[str, Any] = {"batch": case.size, "nodes": len(inference), "nodes_in_training": at_training}
    if once := defined_once(oracle):
        details[DEFINED_ONCE] = once
    if found.refused:
        details["not_compared"] = f"the rest was not compared: {found.refused}"
    source = ReproducerSource("local", graph, case.size, lambda n, w: _reproduction(oracle, n, w), case.folder)
    return judge("local", comparisons, details, source)


def prefetch_local(oracle: Oracle) -> None:
    """Has the oracle compute every node's values and budgets."""
    oracle.outputs(oracle.case.lowered.nodes[0].name)
    hard = hard_oracle(oracle)
    if hard is not None:
        with np.errstate(all="ignore"):
            hard.outputs(hard.case.lowered.nodes[0].name)
    for _, sized in sized_oracles(oracle):
        sized.outputs(sized.case.lowered.nodes[0].name)


def _compare_group(subject: Subject, oracle: Oracle, group: Sequence[str], training: bool) -> Iterator[Comparison]:
    case = oracle.case
    graph = teacher_forced(case.lowered, group, case.size)
    batch = {forced_name(name, i): x for name in group for i, x in enumerate(oracle.inputs(name))}
    if training:
        batch |= masks_of(graph, case.size, case.seed)
    options = replace(case.options, training=training, fold_batch_norm=False)
    result = subject.forward(graph, arrays_of(graph, case.lowered, case.stored), batch, options)
    for name in group:
        node = case.lowered.node(name)
        form = budget_form(node.layer.kind, whole=True)
        truth = oracle.outputs(name, training=training)
        got = [result.outputs.get(value) for value in output_names(case.lowered, node)]
        chosen = _chosen(oracle, name, truth.values, got)
        for i, exact in enumerate(truth.values):
            place = Place(name, node.layer.kind, Quantity.output(i, training=training), form)
            right = chosen.positions.get(i, exact)
            found = compare(place, got[i], right, truth.budgets[i], case.policy)
            yield replace(found, at_ties=chosen.ties) if i == 0 else found
        if training:
            state = oracle.state(name)
            specs = node.layer.state(case.lowered.input_shapes(node))
            for spec, exact, budget in zip(specs, state.values, state.budgets, strict=True):
                place = Place(name, node.layer.kind, Quantity.state(spec.name), form)
                yield compare(place, result.state.get(f"{name}.{spec.name}"), exact, budget, case.policy)


def _chosen(oracle: Oracle, name: str, exact: Sequence[Array], got: Sequence[Array | None]) -> Chosen:
    """The right integers of a node that chooses; given operands leave open what rounding within the node decides."""
    layer = oracle.case.lowered.node(name).layer
    integers = {i: value for i, value in enumerate(exact) if value.dtype.kind in "iu"}
    if not integers or not has_choices(layer.kind):
        return Chosen({}, 0)
    inputs = tuple(np.asarray(x, np.float64) for x in oracle.inputs(name))
    choosing = Choosing(layer, inputs, (0.0,) * len(inputs), oracle.case.policy)
    return nearest_choice(choosing, integers, dict(enumerate(got)))


def _reproduction(oracle: Oracle, name: str, quantity: Quantity) -> Reproduction:
    case = oracle.case
    node = case.lowered.node(name)
    graph = case.lowered.single(name, case.size)
    batch = {f"input{i}": x for i, x in enumerate(oracle.inputs(name))}
    if quantity.in_training:
        batch |= masks_of(graph, case.size, case.seed)
    if quantity.role == "state":
        states = [spec.name for spec in node.layer.state(case.lowered.input_shapes(node))]
        truth, index, result = oracle.state(name), states.index(quantity.name), f"{name}.{quantity.name}"
    else:
        truth, index = oracle.outputs(name, training=quantity.training), quantity.index
        result = f"output{index}"
    return Reproduction(
        graph=graph,
        arrays=arrays_of(graph, case.lowered, case.stored),
        batch=batch,
        options=replace(case.options, training=quantity.in_training, fold_batch_norm=False),
        gradient=False,
        result=result,
        exact=truth.values[index],
        budget=truth.budgets[index],
    )
