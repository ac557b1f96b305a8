"""The divergence report: the node that introduces an error, in words and as a file that reproduces that node alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.contract import ProgramOptions
from cnnbench.numerics.budgets import Budget
from cnnbench.numerics.comparison import Comparison
from cnnbench.numerics.quantity import Quantity
from cnnbench.numerics.subject import Subject
from cnnbench.spec.graph import Graph
from cnnbench.spec.weights import save

Array = NDArray[Any]
FORMAT = "cnnbench-node-2"


@dataclass(frozen=True)
class Reproduction:
    """One node with operands and exact values, enough to run it anywhere.

    Args:
        graph: The node alone. arrays, batch: What ``Subject`` takes; with cotangents in a gradient pass.
        gradient: Whether the value in question is a gradient.
        result: Which value: an output's name, a state's, an input's or a weight's.
        exact, budget: What it should be. skip: elements at a tie.
    """

    graph: Graph
    arrays: Mapping[str, Array]
    batch: Mapping[str, Array]
    options: ProgramOptions
    gradient: bool
    result: str
    exact: Array
    budget: Budget
    skip: Array | None = None


@dataclass(frozen=True)
class ReproducerSource:
    """Where a check's failing values can be had again.

    Args:
        check: Its name. graph: the checked graph. batch: images in the batch.
        reproduction: Gives the ``Reproduction`` of a node's failing quantity.
        folder: Where files go; None for nowhere.
    """

    check: str
    graph: Graph
    batch: int
    reproduction: Callable[[str, Quantity], Reproduction]
    folder: Path | None = None
    notes: tuple[str, ...] = field(default=())


def render(failure: Comparison, evidence: ReproducerSource) -> str:
    """The report as text: node, spec, shapes, worst element, both values."""
    use = failure.use
    node = evidence.graph.node(use.node)
    fields = ", ".join(f"{name}={value}" for name, value in node.layer.fields().items())
    inside = evidence.graph.input_shapes(node, evidence.batch)
    lines = [
        f"first node that introduces error: {use.node}",
        f"  layer     {use.kind}({fields})",
        f"  reads     {', '.join(f'{v} {s}' for v, s in zip(node.inputs, inside, strict=True))}",
        f"  gives     {', '.join(map(str, evidence.graph.output_shapes(node, evidence.batch)))}",
        f"  weights   {', '.join(f'{w.name} {w.shape}' for w in node.layer.weights(inside)) or 'none'}",
        f"  compared  {use.quantity} (check {evidence.check}, budget {use.budget})",
    ]
    if failure.problem is not None:
        lines.append(f"  problem   {failure.text}")
    else:
        lines += [
            f"  worst at  {list(use.worst_index)}",
            f"  got       {use.got!r}",
            f"  expected  {use.expected!r}",
            f"  error     {use.sharp_used:.4g} times the sharp budget, {use.worst_case_used:.4g} times the worst case",
        ]
    return "\n".join([*lines, *evidence.notes])


def write_reproducer(failure: Comparison, evidence: ReproducerSource) -> Path | None:
    """A safetensors file from which ``replay`` runs the failing node alone; None without a folder."""
    if evidence.folder is None:
        return None
    item = evidence.reproduction(failure.use.node, failure.use.quantity)
    safe = "".join(c if c.isalnum() or c in ".-_" else "_" for c in failure.use.node)
    path = evidence.folder / f"{evidence.check}-{safe}.safetensors"
    arrays = {f"array.{name}": array for name, array in item.arrays.items()}
    arrays |= {f"batch.{name}": array for name, array in item.batch.items()}
    arrays |= {"exact": item.exact, "sharp": item.budget.sharp, "worst": item.budget.worst}
    if item.skip is not None:
        arrays["skip"] = item.skip
    header = {
        "graph": item.graph.to_json(),
        "mode": item.options.mode,
        "precision": item.options.precision.name,
        "layout": item.options.layout,
        "training": item.options.training,
        "gradient": item.gradient,
        "result": item.result,
        "node": failure.use.node,
        "quantity": failure.use.quantity.model_dump(),
        "check": evidence.check,
    }
    save({n: np.asarray(a) for n, a in arrays.items()}, path, metadata={"format": FORMAT, "case": json.dumps(header)})
    return path


def run(item: Reproduction, subject: Subject) -> Array | None:
    """The value in question, as the subject gives it for the node alone."""
    if item.gradient:
        gradients = subject.gradient(item.graph, item.arrays, item.batch, item.options)
        return {**gradients.inputs, **gradients.weights}.get(item.result)
    result = subject.forward(item.graph, item.arrays, item.batch, item.options)
    return {**result.outputs, **result.state}.get(item.result)
