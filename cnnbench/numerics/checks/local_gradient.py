"""The local half of the gradient check: each layer's gradients alone, against its own error budgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from cnnbench.errors import UnavailableError
from cnnbench.execution.host import HostGradients, cotangent_name
from cnnbench.numerics.budgets import budget_form
from cnnbench.numerics.checks.gradient_calls import (
    AGAIN,
    FIRST,
    OPPOSITE,
    OTHER,
    GradientProgramCalls,
    gradient_calls,
    negated,
    opposite,
)
from cnnbench.numerics.checks.local import chunks
from cnnbench.numerics.checks.verdict import failing, gather, judge
from cnnbench.numerics.comparison import Comparison, Place, compare
from cnnbench.numerics.divergence import ReproducerSource, Reproduction
from cnnbench.numerics.oracle import Oracle, node_call
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.quantity import Quantity
from cnnbench.numerics.rounding import Roundoff
from cnnbench.numerics.subject import Subject
from cnnbench.numerics.teacher_forcing import arrays_of, float_outputs, forced_name, teacher_forced
from cnnbench.numerics.ties import Backward, Hull, hull
from cnnbench.spec.masks import masks_of

Array = NDArray[Any]


def check_local_gradients(name: str, subject: Subject, oracle: Oracle, *, once: bool = False) -> CheckOutcome:
    """Every differentiable node at training on the oracle's operands, with seeded cotangents.

    Args:
        name: The check's.
        subject: What is examined.
        oracle: Of the case as it is, reduced or not.
        once: Whether each program is called once; else also on the opposite cotangents, with other weights, and as at
            first again.

    Raises:
        UnavailableError: The subject refuses a group of nodes, and no other one is wrong.
    """
    case = oracle.case
    details: dict[str, Any] = {"batch": case.size, "image": [list(item.shape) for item in case.graph.inputs]}
    later: dict[str, list[Comparison]] = {}
    kept = None if once else later
    found = gather(_compare_group(subject, oracle, group, kept) for group in chunks(case, oracle.differentiated()))
    comparisons = found.comparisons
    calls = [call for call, known in later.items() if failing(comparisons) is None and failing(known) is not None]
    if calls:
        comparisons = later[calls[0]]
        details["call"] = calls[0]
    if found.refused and failing(comparisons) is None:
        raise UnavailableError(found.refused)
    order = {node.name: i for i, node in enumerate(case.lowered.nodes)}
    comparisons.sort(key=lambda c: order[c.use.node])
    source = ReproducerSource(name, case.lowered, case.size, lambda n, w: _reproduction(oracle, n, w), case.folder)
    outcome = judge(name, comparisons, details, source)
    return outcome.model_copy(update={"message": f"{calls[0]}: {outcome.message}"}) if calls else outcome


def _compare_group(
    subject: Subject, oracle: Oracle, group: Sequence[str], later: dict[str, list[Comparison]] | None
) -> Iterator[Comparison]:
    """Compares the first call; what later calls of the same program give goes into ``later``; None for none."""
    case = oracle.case
    graph = teacher_forced(case.lowered, group, case.size).with_float_outputs()
    truths = {name: oracle.gradients(name) for name in group}
    batch = {forced_name(name, i): x for name in group for i, x in enumerate(oracle.inputs(name))}
    batch |= masks_of(graph, case.size, case.seed)
    for name in group:
        values = float_outputs(case.lowered, case.lowered.node(name))
        batch |= {cotangent_name(value): g for value, g in zip(values, truths[name].cotangents, strict=True)}
    options = replace(case.options, training=True, fold_batch_norm=False)
    arrays = arrays_of(graph, case.lowered, case.stored)
    asked = GradientProgramCalls(graph, options, None, arrays, batch, opposite(batch, graph))
    if later is None:
        yield from _compared(oracle, group, subject.gradient(graph, arrays, batch, options))
        return
    for call in gradient_calls(subject, asked):
        if call.name == FIRST:
            yield from _compared(oracle, group, call.result)
        elif call.name == OTHER:
            later.setdefault(OPPOSITE, []).extend(_compared(oracle, group, negated(call.result)))
        elif call.name == AGAIN:
            later.setdefault(AGAIN, []).extend(_compared(oracle, group, call.result))


def _compared(oracle: Oracle, group: Sequence[str], result: HostGradients) -> Iterator[Comparison]:
    case, truths = oracle.case, {name: oracle.gradients(name) for name in group}
    for name in group:
        layer = case.lowered.node(name).layer
        form = budget_form(layer.kind, whole=True)
        truth = truths[name]
        for i, exact, budget in truth.inputs:
            ties = _ties(oracle, name, i, exact)
            place = Place(name, layer.kind, Quantity.input_gradient(i), form)
            yield compare(place, result.inputs.get(forced_name(name, i)), exact, budget, case.policy, ties)
        for weight, exact, budget in truth.weights:
            place = Place(name, layer.kind, Quantity.weight_gradient(weight), form)
            yield compare(place, result.weights.get(f"{name}.{weight}"), exact, budget, case.policy)


def _ties(oracle: Oracle, name: str, position: int, exact: Array) -> Hull | None:
    """What is right at the ties of a node's first operand."""
    case, cotangents = oracle.case, oracle.cotangents(name)
    if position or not cotangents:
        return None
    call = node_call(case.lowered, case.lowered.node(name), case.stored, oracle.inputs(name), None)
    return hull(Backward(call, cotangents[0], exact), Roundoff.of(case.policy))


def _reproduction(oracle: Oracle, name: str, quantity: Quantity) -> Reproduction:
    case = oracle.case
    graph = case.lowered.single(name, case.size).with_float_outputs()
    truth = oracle.gradients(name)
    inputs = oracle.inputs(name)
    batch = {f"input{i}": x for i, x in enumerate(inputs)} | masks_of(graph, case.size, case.seed)
    batch |= {cotangent_name(output): g for (output, _), g in zip(graph.outputs, truth.cotangents, strict=True)}
    ties = None
    if quantity.role == "input_gradient":
        i, result = quantity.index, f"input{quantity.index}"
        exact, budget = next((value, admitted) for position, value, admitted in truth.inputs if position == i)
        ties = _ties(oracle, name, i, exact)
    else:
        result = f"{name}.{quantity.name}"
        exact, budget = next((value, admitted) for item, value, admitted in truth.weights if item == quantity.name)
    return Reproduction(
        graph=graph,
        arrays=arrays_of(graph, case.lowered, case.stored),
        batch=batch,
        options=replace(case.options, training=True, fold_batch_norm=False),
        gradient=True,
        result=result,
        exact=exact,
        budget=budget,
        hull=ties,
    )
