"""The exact check: on small integers a correct backend agrees bit for bit, forward and in both gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import UnavailableError
from cnnbench.numerics.budgets import Budget
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks.exact_program import check_program, prefetch_program
from cnnbench.numerics.checks.verdict import evidence, gather, in_one_line
from cnnbench.numerics.comparison import Comparison, Place, compare
from cnnbench.numerics.divergence import ReproducerSource, Reproduction
from cnnbench.numerics.integers import IntegerCall, integer_call, is_exact, long_call
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.quantity import Quantity
from cnnbench.numerics.rounding import Roundoff, host_dtype, to_storage
from cnnbench.numerics.subject import Subject
from cnnbench.numerics.teacher_forcing import forced_name, output_names, representatives, teacher_forced
from cnnbench.numerics.ties import Backward, Hull, hull
from cnnbench.spec.graph import Graph

Array = NDArray[Any]
NAME = "exact"
EQUAL = Budget(np.asarray(np.float32(2.0**-126)), np.asarray(np.float32(2.0**-126)))  # -0 and 0 are equal


@dataclass(frozen=True)
class _Question:
    """The nodes that are exact, their operands, and one graph of all of them."""

    case: Case
    calls: Mapping[str, IntegerCall]

    @property
    def graph(self) -> Graph:
        return teacher_forced(self.case.lowered, list(self.calls), self.case.size)

    def host(self, array: Array) -> Array:
        return array.astype(host_dtype(self.case.policy))

    def weights(self, name: str) -> list[str]:
        node = self.case.lowered.node(name)
        return [spec.name for spec in node.layer.weights(self.case.lowered.input_shapes(node))]

    def arrays(self, name: str) -> dict[str, Array]:
        held = zip(self.weights(name), self.calls[name].call.weights, strict=True)
        return {f"{name}.{weight}": self.host(array) for weight, array in held}

    def operands(self, name: str) -> list[Array]:
        return [self.host(x) for x in self.calls[name].call.inputs]

    def cotangents(self, name: str) -> list[Array]:
        return [self.host(g) for g in self.calls[name].cotangents]

    def ties(self, name: str, position: int, exact: Array) -> Hull | None:
        item = self.calls[name]
        u = Roundoff.of(self.case.policy)
        return None if position else hull(Backward(item.call, item.cotangents[0], exact), u)

    def stored(self, exact: Array) -> Array:
        return to_storage(exact, self.case.policy).astype(np.float64)


def check_exact(subject: Subject, oracle: Oracle) -> CheckOutcome:
    """Each layer with its operands' shapes once, then the whole program.

    Layers of a large network are on smaller images unless the check is thorough; products once more on long integers
    (``integers.long_call``).
    """
    alone = _check_nodes(subject, oracle)
    if alone.status == "failed":
        return alone
    try:
        whole = check_program(subject, oracle)
    except UnavailableError as error:
        if alone.status == "skipped":
            raise
        said = {"program_not_compared": in_one_line(error)}
        return alone.model_copy(update={"details": {**alone.details, **said}})
    if whole.status == "failed" or alone.status == "skipped":
        return whole.model_copy(update={"details": {**alone.details, **whole.details}})
    text = f"{alone.message}; {whole.message}"
    return alone.model_copy(update={"message": text, "details": {**alone.details, **whole.details}})


def prefetch_exact(oracle: Oracle) -> None:
    """Has the oracle compute the integer networks of the whole program."""
    prefetch_program(oracle)


def _check_nodes(subject: Subject, oracle: Oracle) -> CheckOutcome:
    case = oracle.case if oracle.case.thorough else oracle.case.reduced
    calls = _integer_calls(case)
    image = [list(item.shape) for item in case.lowered.inputs]
    details: dict[str, Any] = {"batch": case.size, "image": image, "nodes": len(calls)}
    if not calls:
        return CheckOutcome(name=NAME, status="skipped", message="no node has exact integer sums", details=details)
    comparisons: list[Comparison] = []
    refused = None
    for question in (_Question(case, calls), _Question(case, _long_calls(case, calls))):
        found = gather(half(subject, question) for half in (_forward, _gradients) if question.calls)
        order = {name: i for i, name in enumerate(question.calls)}
        ordered = sorted(found.comparisons, key=lambda c: order[c.use.node])
        wrong = [c for c in ordered if c.problem is not None or c.use.sharp_used > 1]
        if wrong:
            return _failed(question, wrong, details)
        comparisons += ordered
        refused = refused or found.refused
    text = f"{len(comparisons)} values of {len(calls)} nodes are equal bit for bit"
    if refused:
        details["not_compared"] = f"gradients were not compared: {refused}"
        text += f"; {details['not_compared']}"
    return CheckOutcome(name=NAME, status="passed", budget_used=0.0, worst_case_used=0.0, message=text, details=details)


def _integer_calls(case: Case) -> dict[str, IntegerCall]:
    """The nodes that can be checked on integers, each with its operands and what is right."""
    graph = case.lowered
    calls = {}
    for name in representatives(graph, case.size):
        node = graph.node(name)
        floats = all(graph.dtypes[value] == "float" for value in (*node.inputs, *output_names(graph, node)))
        if floats and is_exact(node.layer, graph.input_shapes(node, case.size)):
            call = integer_call(case, node)
            if call is not None:
                calls[name] = call
    return calls


def _long_calls(case: Case, names: Iterable[str]) -> dict[str, IntegerCall]:
    """Of these nodes the products, on operands that narrower ones would round."""
    calls = {name: long_call(case, case.lowered.node(name)) for name in names}
    return {name: call for name, call in calls.items() if call is not None}


def _failed(question: _Question, wrong: Sequence[Comparison], details: Mapping[str, Any]) -> CheckOutcome:
    """The first node that is wrong, with its report and the file that reproduces it."""
    case, failure = question.case, wrong[0]
    use = failure.use
    source = ReproducerSource(NAME, case.lowered, case.size, lambda n, q: _reproduction(question, n, q), case.folder)
    more = {"failing": sorted({c.use.node for c in wrong}), **evidence(failure, source)}
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


def _forward(subject: Subject, question: _Question) -> Iterator[Comparison]:
    case = question.case
    options = replace(case.options, training=False, fold_batch_norm=False)
    arrays = {key: array for name in question.calls for key, array in question.arrays(name).items()}
    batch = {forced_name(n, i): x for n in question.calls for i, x in enumerate(question.operands(n))}
    result = subject.forward(question.graph, arrays, batch, options)
    for name, item in question.calls.items():
        node = case.lowered.node(name)
        for i, (value, exact) in enumerate(zip(output_names(case.lowered, node), item.values.outputs, strict=True)):
            place = Place(name, node.layer.kind, Quantity.output(i), "exact")
            yield compare(place, result.outputs.get(value), question.stored(exact), EQUAL, case.policy)


def _gradients(subject: Subject, question: _Question) -> Iterator[Comparison]:
    question = _Question(question.case, {n: item for n, item in question.calls.items() if item.gradients is not None})
    case = question.case
    if not question.calls:
        return
    options = replace(case.options, training=True, fold_batch_norm=False)
    arrays = {key: array for name in question.calls for key, array in question.arrays(name).items()}
    batch = {forced_name(n, i): x for n in question.calls for i, x in enumerate(question.operands(n))}
    for name in question.calls:
        values = output_names(case.lowered, case.lowered.node(name))
        batch |= {f"gradient.{v}": g for v, g in zip(values, question.cotangents(name), strict=True)}
    result = subject.gradient(question.graph, arrays, batch, options)
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


def _reproduction(question: _Question, name: str, quantity: Quantity) -> Reproduction:
    case, item = question.case, question.calls[name]
    arrays = question.arrays(name)
    batch = {f"input{i}": x for i, x in enumerate(question.operands(name))}
    if quantity.is_gradient:
        batch |= {f"gradient.output{i}": g for i, g in enumerate(question.cotangents(name))}
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
        exact=question.stored(np.asarray(exact)),
        budget=EQUAL,
        hull=ties,
    )
