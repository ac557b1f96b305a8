"""The exact check: on small integers a correct backend agrees bit for bit, forward and in both gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.host import HostGradients, HostResult, cotangent_name
from cnnbench.execution.winograd import winograd_of
from cnnbench.numerics.budgets import Budget
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks.exact_program import check_program, prefetch_program
from cnnbench.numerics.checks.integer_question import IntegerQuestion
from cnnbench.numerics.checks.kept_program import forward_program, gradient_program
from cnnbench.numerics.checks.local import chunks
from cnnbench.numerics.checks.verdict import evidence, gather
from cnnbench.numerics.common_answers import COMMON
from cnnbench.numerics.comparison import Comparison, Place, compare
from cnnbench.numerics.divergence import ReproducerSource, Reproduction
from cnnbench.numerics.integers import IntegerCall, integer_call, is_exact, long_call
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.outcome import QUANTITY, CheckOutcome
from cnnbench.numerics.quantity import Quantity
from cnnbench.numerics.subject import Subject
from cnnbench.numerics.teacher_forcing import forced_name, output_names, representatives

Array = NDArray[Any]
NAME = "exact"
EQUAL = Budget(np.asarray(np.float32(2.0**-126)), np.asarray(np.float32(2.0**-126)))  # -0 and 0 are equal
NEAREST = Budget(np.asarray(np.float32(0.5)), np.asarray(np.float32(0.5)))  # the nearest integer is the exact one


_Questions = tuple[IntegerQuestion, IntegerQuestion]


def check_exact(subject: Subject, oracle: Oracle) -> CheckOutcome:
    """Each layer with its operands' shapes once, then the whole program.

    Where the policy admits Winograd, whose transforms round, the outputs of a layer that runs by it need only be the
    exact integers once they are rounded to integers; the whole program runs with direct sums. Layers of a large network
    are on smaller images unless the check is thorough; products once more on long integers (``integers.long_call``).

    Raises:
        UnavailableError: The subject refuses the program, and no layer that it takes is wrong.
    """
    alone = _check_nodes(subject, oracle)
    if alone.status == "failed":
        return alone
    whole = check_program(subject, oracle)
    if whole.status == "failed" or alone.status == "skipped":
        return whole.model_copy(update={"details": {**alone.details, **whole.details}})
    text = f"{alone.message}; {whole.message}"
    return alone.model_copy(update={"message": text, "details": {**alone.details, **whole.details}})


def prefetch_exact(oracle: Oracle) -> None:
    """Has the oracle compute the integer networks of the whole program."""
    prefetch_program(oracle)


def _check_nodes(subject: Subject, oracle: Oracle) -> CheckOutcome:
    case = oracle.case if oracle.case.thorough else oracle.case.reduced
    image = [list(item.shape) for item in case.lowered.inputs]
    details: dict[str, Any] = {"batch": case.size, "image": image, "nodes": 0}
    refused: str | None = None
    count = 0
    for group in chunks(case, representatives(case.lowered, case.size)):
        calls, long_calls = COMMON.get(case, (NAME, *group), partial(_calls, case, group))
        if not calls:
            continue
        details["nodes"] += len(calls)
        questions = (IntegerQuestion(case, calls), IntegerQuestion(case, long_calls))
        later: list[Comparison] = []
        found = gather(half(subject, questions, later) for half in (_forward, _gradients))
        refused = refused or found.refused
        for question, compared in zip(questions, (found.comparisons, later), strict=True):
            if wrong := _wrong(question, compared):
                return _failed(question, wrong, details)
            count += len(compared)
        del calls, long_calls, questions  # before the next group's
    if not details["nodes"]:
        return CheckOutcome(name=NAME, status="skipped", message="no node has exact integer sums", details=details)
    text = f"{count} values of {details['nodes']} nodes are equal bit for bit"
    if case.policy.winograd:
        text += ", those by Winograd once they are rounded to integers"
    if refused:
        details["not_compared"] = f"gradients were not compared: {refused}"
        text += f"; {details['not_compared']}"
    return CheckOutcome(name=NAME, status="passed", budget_used=0.0, worst_case_used=0.0, message=text, details=details)


def _wrong(question: IntegerQuestion, compared: Sequence[Comparison]) -> list[Comparison]:
    """What is not equal, in the order of the nodes."""
    order = {name: i for i, name in enumerate(question.calls)}
    ordered = sorted(compared, key=lambda c: order[c.use.node])
    return [c for c in ordered if c.problem is not None or c.use.sharp_used > 1]


def _calls(case: Case, names: Iterable[str]) -> tuple[dict[str, IntegerCall], dict[str, IntegerCall]]:
    """Short integers and long ones for these nodes."""
    calls = _integer_calls(case, names)
    return calls, _long_calls(case, calls)


def _integer_calls(case: Case, names: Iterable[str]) -> dict[str, IntegerCall]:
    """Of these nodes those that can be checked on integers, each with its operands and what is right."""
    graph = case.lowered
    calls = {}
    for name in names:
        node = graph.node(name)
        floats = all(graph.dtypes[value] == "float" for value in (*node.inputs, *output_names(graph, node)))
        if floats and is_exact(node.layer, graph.input_shapes(node, case.size)):
            call = integer_call(case, node)
            if call is not None:
                calls[name] = call
    return calls


def _long_calls(case: Case, names: Iterable[str]) -> dict[str, IntegerCall]:
    """Of these nodes the products, on operands that narrower ones would round."""
    direct = (name for name in names if _admitted(case, name) is EQUAL)
    calls = {name: long_call(case, case.lowered.node(name)) for name in direct}
    return {name: call for name, call in calls.items() if call is not None}


def _admitted(case: Case, name: str) -> Budget:
    """Of a node's outputs at inference."""
    node = case.lowered.node(name)
    by_winograd = case.policy.winograd and winograd_of(node.layer, case.lowered.input_shapes(node, case.size)[0])
    return NEAREST if by_winograd else EQUAL


def _failed(question: IntegerQuestion, wrong: Sequence[Comparison], details: Mapping[str, Any]) -> CheckOutcome:
    """The first node that is wrong, with its report and the file that reproduces it."""
    case, failure = question.case, wrong[0]
    use = failure.use
    source = ReproducerSource(NAME, case.lowered, case.size, lambda n, q: _reproduction(question, n, q), case.folder)
    more = {"failing": sorted({c.use.node for c in wrong}), QUANTITY: str(use.quantity), **evidence(failure, source)}
    if failure.problem is not None:
        more["problem"] = failure.problem
    said = failure.text or f"at {list(use.worst_index)} got {use.got!r}, expected exactly {use.expected!r}"
    return CheckOutcome(
        name=NAME,
        status="failed",
        node=use.node,
        message=f"{use.node} ({use.kind}), {use.quantity}: {said}",
        reproducer=more.pop("reproducer", None),
        details={**details, **more},
    )


def _forward(subject: Subject, questions: _Questions, later: list[Comparison]) -> Iterator[Comparison]:
    """Compares the first question; the second, which the same program answers, goes into ``later``."""
    first, second = questions
    options = replace(first.case.options, training=False, fold_batch_norm=False)
    with forward_program(subject, first.graph, options) as run:
        yield from _outputs(first, run(first.all_arrays, first.batch))
        if second.calls:
            operands = first.all_arrays | second.all_arrays, first.batch | second.batch
            later += _outputs(second, run(*operands))


def _outputs(question: IntegerQuestion, result: HostResult) -> Iterator[Comparison]:
    case = question.case
    for name, item in question.calls.items():
        node = case.lowered.node(name)
        for i, (value, exact) in enumerate(zip(output_names(case.lowered, node), item.values.outputs, strict=True)):
            place, budget = Place(name, node.layer.kind, Quantity.output(i), "exact"), _admitted(case, name)
            yield compare(place, result.outputs.get(value), question.stored(exact), budget, case.policy)


def _gradients(subject: Subject, questions: _Questions, later: list[Comparison]) -> Iterator[Comparison]:
    """As ``_forward``, of the nodes whose gradients are exact."""
    first, second = (question.with_gradients() for question in questions)
    if not first.calls:
        return
    options = replace(first.case.options, training=True, fold_batch_norm=False)
    with gradient_program(subject, first.graph, options) as run:
        yield from _found_gradients(first, run(first.all_arrays, first.batch | first.all_cotangents))
        if second.calls:
            batch = first.batch | first.all_cotangents | second.batch | second.all_cotangents
            later += _found_gradients(second, run(first.all_arrays | second.all_arrays, batch))


def _found_gradients(question: IntegerQuestion, result: HostGradients) -> Iterator[Comparison]:
    case = question.case
    for name, item in question.calls.items():
        layer = case.lowered.node(name).layer
        if item.gradients is None:
            continue
        for i, exact in enumerate(item.gradients.inputs):
            if exact is None:
                continue
            place = Place(name, layer.kind, Quantity.input_gradient(i), "exact")
            got, ties = result.inputs.get(forced_name(name, i)), question.ties(name, i, exact)
            yield compare(place, got, question.stored(exact), EQUAL, case.policy, ties)
        for weight, value in zip(question.weights(name), item.gradients.weights, strict=True):
            if value is not None:
                place = Place(name, layer.kind, Quantity.weight_gradient(weight), "exact")
                got = result.weights.get(f"{name}.{weight}")
                yield compare(place, got, question.stored(value), EQUAL, case.policy)


def _reproduction(question: IntegerQuestion, name: str, quantity: Quantity) -> Reproduction:
    case, item = question.case, question.calls[name]
    arrays = question.arrays(name)
    batch = {f"input{i}": x for i, x in enumerate(question.operands(name))}
    if quantity.is_gradient:
        batch |= {cotangent_name(f"output{i}"): g for i, g in enumerate(question.cotangents(name))}
    ties, exact = None, None
    if quantity.role == "output" or item.gradients is None:
        result, exact = f"output{quantity.index}", item.values.outputs[quantity.index]
    elif quantity.role == "input_gradient":
        result, exact = f"input{quantity.index}", item.gradients.inputs[quantity.index]
        ties = question.ties(name, quantity.index, np.asarray(exact))
    else:
        result = f"{name}.{quantity.name}"
        exact = item.gradients.weights[question.weights(name).index(quantity.name)]
    return Reproduction(
        graph=case.lowered.single(name, case.size),
        arrays=arrays,
        batch=batch,
        options=replace(case.options, training=quantity.is_gradient, fold_batch_norm=False),
        gradient=quantity.is_gradient,
        result=result,
        exact=question.stored(np.asarray(exact)).astype(np.float64),
        budget=EQUAL if quantity.is_gradient else _admitted(case, name),
        hull=ties,
    )
