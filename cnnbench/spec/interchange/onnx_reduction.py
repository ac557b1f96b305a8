"""Importers of reductions, positions of extremes, and the largest few."""

from __future__ import annotations

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import OnnxNode, Result, importer
from cnnbench.spec.layers.reduction import ArgReduce, Reduce, ReduceFunction, TopK

FUNCTIONS: dict[str, ReduceFunction] = {
    "ReduceL1": "l1",
    "ReduceL2": "l2",
    "ReduceLogSum": "log_sum",
    "ReduceLogSumExp": "log_sum_exp",
    "ReduceMax": "max",
    "ReduceMean": "mean",
    "ReduceMin": "min",
    "ReduceProd": "prod",
    "ReduceSum": "sum",
    "ReduceSumSquare": "sum_square",
}


@importer(*FUNCTIONS)
def reduce(node: OnnxNode) -> Value:
    """A reduction; without axes over all of them, or over none where ``noop_with_empty_axes`` says so."""
    axes: tuple[int, ...] | None = node.ints(1, "the axes") if node.has(1) else node.attribute("axes")
    if not axes:
        axes = () if node.attribute("noop_with_empty_axes", 0) else None
    layer = Reduce(function=FUNCTIONS[node.op], axes=axes, keepdims=bool(node.attribute("keepdims", 1)))
    return node.add(layer, node.value(0))


@importer("ArgMax", "ArgMin")
def arg_reduce(node: OnnxNode) -> Value:
    """ArgMax, ArgMin."""
    layer = ArgReduce(
        function="argmax" if node.op == "ArgMax" else "argmin",
        axis=node.attribute("axis", 0),
        keepdims=bool(node.attribute("keepdims", 1)),
        select_last_index=bool(node.attribute("select_last_index", 0)),
    )
    return node.add(layer, node.value(0))


@importer("TopK")
def top_k(node: OnnxNode) -> list[Result]:
    """TopK: in order, whether or not ``sorted`` asks for it."""
    (k,) = node.ints(1, "k")
    layer = TopK(k=k, axis=node.attribute("axis", -1), largest=bool(node.attribute("largest", 1)))
    return list(node.add_all(layer, node.value(0)))
