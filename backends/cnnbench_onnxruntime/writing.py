"""Adds a layer to the model that is being made, by the exporter of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cnnbench.spec.graph import Graph, Input, Node
from cnnbench.spec.graph.names import value_names
from cnnbench.spec.interchange.to_onnx.writer import Exporter, NodeWriter
from cnnbench.spec.layers import Layer
from cnnbench_onnxruntime.tracing import current
from cnnbench_onnxruntime.values import OnnxValue


def write(
    export: Exporter, layer: Layer, inputs: Sequence[OnnxValue], arrays: Sequence[OnnxValue]
) -> tuple[OnnxValue, ...]:
    """The layer's outputs, by a graph of this one node.

    Args:
        export: Writes it.
        layer: Resolved.
        inputs: Its operands.
        arrays: Its weights, then its running statistics; all known.
    """
    trace = current()
    shapes = tuple(value.shape for value in inputs)
    given = {value.name_in_model(): value for value in inputs}
    specs = (*layer.weights(shapes), *layer.state(shapes))
    name = trace.fresh(layer.kind)
    owner = _owner([(spec.name, value.name) for spec, value in zip(specs, arrays, strict=True)], name)
    sources = tuple(
        Input(key, value.shape, "int" if value.dtype == "int64" else "float", batched=False)
        for key, value in given.items()
    )
    node = Node(name, layer, tuple(value.name for value in inputs), None if owner == name else owner)
    graph = Graph("op", sources, (node,), ())
    held = {f"{owner}.{spec.name}": value.array for spec, value in zip(specs, arrays, strict=True)}
    writer = NodeWriter(replace(trace.model, graph=graph, arrays=held), node)
    first = len(trace.model.nodes)
    writer.finish(export(writer), first)
    values = value_names(name, len(writer.output_shapes))
    types = ("int64" if graph.dtypes[value] == "int" else "float32" for value in values)
    return tuple(map(OnnxValue, values, writer.output_shapes, types))


def _owner(names: Sequence[tuple[str, str]], otherwise: str) -> str:
    """The node whose arrays these are: what stands before each array's own name; another where they are of several."""
    found = {full.removesuffix(f".{own}") if full.endswith(f".{own}") else otherwise for own, full in names}
    return found.pop() if len(found) == 1 else otherwise
