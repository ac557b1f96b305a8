"""The exact check: on small integers a correct backend agrees bit for bit, forward and in both gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets import Budget
from cnnbench.numerics.case import Case
from cnnbench.numerics.comparison import Comparison, Place, compare
from cnnbench.numerics.divergence import Evidence, Reproduction, render, write_reproducer
from cnnbench.numerics.forcing import forced_name, output_names, representatives, teacher_forced
from cnnbench.numerics.integers import IntegerCall, integer_call, is_exact
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.outcome import Outcome
from cnnbench.numerics.rounding import host_dtype, to_storage
from cnnbench.numerics.subject import Subject
from cnnbench.numerics.ties import tied
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

    def arrays(self, name: str) -> dict[str, Array]:
        node = self.case.lowered.node(name)
        specs = node.layer.weights(self.case.lowered.input_shapes(node))
        held = zip(specs, self.calls[name].call.weights, strict=True)
        return {f"{name}.{spec.name}": self.host(weight) for spec, weight in held}

    def operands(self, name: str) -> list[Array]:
        return [self.host(x) for x in self.calls[name].call.inputs]

    def cotangents(self, name: str) -> list[Array]:
        return [self.host(g) for g in self.calls[name].cotangents]

    def stored(self, exact: Array) -> Array:
        return to_storage(exact, self.case.policy).astype(np.float64)


def check_exact(subject: Subject, oracle: Oracle) -> Outcome:
    """Each layer with its operands' shapes once; a large network on smaller images."""
    case = oracle.case.reduced
    graph = case.lowered
    calls = {}
    for name in representatives(graph, case.size):
        node = graph.node(name)
        floats = all(graph.dtypes[value] == "float" for value in (*node.inputs, *output_names(graph, node)))
        if floats and is_exact(node.layer, graph.input_shapes(node, case.size)):
            call = integer_call(graph, node, case.size, case.policy, case.seed)
            if call is not None:
                calls[name] = call
    image = [list(item.shape) for item in graph.inputs]
    details: dict[str, Any] = {"batch": case.size, "image": image, "nodes": len(calls)}
    if not calls:
        return Outcome(NAME, "skipped", message="no node has exact integer sums", details=details)
    question = _Question(case, calls)
    comparisons = [*_forward(subject, question), *_gradients(subject, question)]
    order = {name: i for i, name in enumerate(calls)}
    comparisons.sort(key=lambda c: order[c.use.node])
    wrong = [c for c in comparisons if c.problem is not None or c.use.sharp_used > 1]
    if not wrong:
        text = f"{len(comparisons)} values of {len(calls)} nodes are equal bit for bit"
        return Outcome(NAME, "passed", 0.0, 0.0, message=text, details=details)
    failure = wrong[0]
    use = failure.use
    evidence = Evidence(NAME, graph, case.size, lambda n, w: _reproduction(question, n, w), case.folder)
    details |= {"failing": sorted({c.use.node for c in wrong}), "report": render(failure, evidence)}
    if failure.problem is not None:
        details["problem"] = failure.problem
    said = failure.text or f"at {list(use.worst_index)} got {use.got!r}, expected exactly {use.expected!r}"
    reproducer = write_reproducer(failure, evidence)
    return Outcome(
        NAME,
        "failed",
        None,
        None,
        use.node,
        f"{use.node} ({use.kind}), {use.what}: {said}",
        str(reproducer) if reproducer else None,
        details,
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
            place = Place(name, node.layer.kind, f"output {i}", "exact")
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
            place = Place(name, layer.kind, f"input gradient {i}", "exact")
            got, skip = result.inputs.get(forced_name(name, i)), tied(layer, item.call.inputs[i])
            yield compare(place, got, question.stored(exact), EQUAL, case.policy, skip)
        for key, value in zip(question.arrays(name), item.gradients.weights, strict=True):
            if value is not None:
                place = Place(name, layer.kind, f"gradient of {key.removeprefix(f'{name}.')}", "exact")
                yield compare(place, result.weights.get(key), question.stored(value), EQUAL, case.policy)


def _reproduction(question: _Question, name: str, what: str) -> Reproduction:
    case, item = question.case, question.calls[name]
    graph = case.lowered.single(name, case.size)
    arrays = question.arrays(name)
    batch = {f"input{i}": x for i, x in enumerate(question.operands(name))}
    gradient = "gradient" in what
    options = replace(case.options, training=gradient, fold_batch_norm=False)
    skip = None
    if gradient:
        batch |= {f"gradient.output{i}": g for i, g in enumerate(question.cotangents(name))}
    index = what.rpartition(" ")[2]
    exact: Any
    if item.gradients is None or what.startswith("output "):
        result, exact = f"output{index}", item.values.outputs[int(index)]
    elif what.startswith("input gradient "):
        result, exact = f"input{index}", item.gradients.inputs[int(index)]
        skip = tied(case.lowered.node(name).layer, item.call.inputs[int(index)])
    else:
        result = f"{name}.{what.removeprefix('gradient of ')}"
        found = item.gradients.weights[list(arrays).index(result)]
        exact = np.zeros(arrays[result].shape) if found is None else found
    return Reproduction(graph, arrays, batch, options, gradient, result, question.stored(exact), EQUAL, skip)
