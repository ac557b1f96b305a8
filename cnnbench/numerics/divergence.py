"""The report of a failed check: the node that introduces the error, in words and as a file that reproduces it alone."""

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
from cnnbench.numerics.ties import Hull
from cnnbench.spec.graph import Graph
from cnnbench.spec.weights import save

Array = NDArray[Any]
FORMAT = "cnnbench-node-3"


@dataclass(frozen=True)
class Reproduction:
    """One node with its operands and the value that is wrong, enough to run it anywhere.

    Args:
        graph: The node alone.
        arrays: Its weights and running statistics.
        batch: Its inputs, with masks in training and cotangents in a gradient pass.
        options: Of the program.
        gradient: Whether the value is a gradient.
        result: The value's name: of an output, a running statistic, an input or a weight.
        exact: What it should be.
        budget: The admitted error.
        hull: What is right at ties.
    """

    graph: Graph
    arrays: Mapping[str, Array]
    batch: Mapping[str, Array]
    options: ProgramOptions
    gradient: bool
    result: str
    exact: Array
    budget: Budget
    hull: Hull | None = None


@dataclass(frozen=True)
class ReproducerSource:
    """From what a failing check makes its report and the file that reproduces the failure.

    Args:
        check: Its name.
        graph: The checked graph.
        batch: Images in the batch.
        reproduction: Makes the ``Reproduction`` of a node and its failing quantity.
        folder: Where the file goes; None for nowhere.
        notes: Further lines of the report.
    """

    check: str
    graph: Graph
    batch: int
    reproduction: Callable[[str, Quantity], Reproduction]
    folder: Path | None = None
    notes: tuple[str, ...] = field(default=())


def render(failure: Comparison, source: ReproducerSource) -> str:
    """The report as text: the node, its layer and shapes, the worst element and both values there."""
    use = failure.use
    node = source.graph.node(use.node)
    fields = ", ".join(f"{name}={value}" for name, value in node.layer.fields().items())
    inside = source.graph.input_shapes(node, source.batch)
    lines = [
        f"first node that introduces error: {use.node}",
        f"  layer     {use.kind}({fields})",
        f"  reads     {', '.join(f'{v} {s}' for v, s in zip(node.inputs, inside, strict=True))}",
        f"  gives     {', '.join(map(str, source.graph.output_shapes(node, source.batch)))}",
        f"  weights   {', '.join(f'{w.name} {w.shape}' for w in node.layer.weights(inside)) or 'none'}",
        f"  compared  {use.quantity} (check {source.check}, budget {use.budget})",
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
    return "\n".join([*lines, *source.notes])


def write_reproducer(failure: Comparison, source: ReproducerSource) -> Path | None:
    """Writes the safetensors file from which ``replay`` runs the failing node alone; None without a folder."""
    if source.folder is None:
        return None
    item = source.reproduction(failure.use.node, failure.use.quantity)
    safe = "".join(c if c.isalnum() or c in ".-_" else "_" for c in failure.use.node)
    path = source.folder / f"{source.check}-{safe}.safetensors"
    arrays = {f"array.{name}": array for name, array in item.arrays.items()}
    arrays |= {f"batch.{name}": array for name, array in item.batch.items()}
    arrays |= {"exact": item.exact, "sharp": item.budget.sharp, "worst": item.budget.worst}
    if item.hull is not None:
        arrays |= {f"ties.{name}": np.asarray(value) for name, value in item.hull._asdict().items()}
    header = {
        "graph": item.graph.to_json(),
        "mode": item.options.mode,
        "precision": item.options.precision.name,
        "layout": item.options.layout,
        "training": item.options.training,
        "fold_batch_norm": item.options.fold_batch_norm,
        "gradient": item.gradient,
        "result": item.result,
        "node": failure.use.node,
        "quantity": failure.use.quantity.model_dump(),
        "check": source.check,
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
