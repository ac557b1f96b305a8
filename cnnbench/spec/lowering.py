"""Graph passes that change how a network is written and not what it computes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from cnnbench.spec.graph import Graph, Node, value_names
from cnnbench.spec.layers import BatchNorm, Composite, Conv

if TYPE_CHECKING:
    from cnnbench.spec.weights import Array, Arrays


def lower(graph: Graph, *, native: Collection[str] = ()) -> Graph:
    """The graph with composite kinds replaced by their parts, but for the kinds in ``native``.

    A part is named ``<node>.<part>``, so weights keep their names. Outputs keep theirs; the value of a replaced node
    has the name of the part that makes it.
    """
    if not any(isinstance(node.layer, Composite) and node.layer.kind not in native for node in graph.nodes):
        return graph
    renamed: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(renamed.get(value, value) for value in node.inputs)
        if not isinstance(node.layer, Composite) or node.layer.kind in native:
            nodes.append(replace(node, inputs=inputs))
            continue
        parts = lower(node.layer.graph(graph.input_shapes(node)), native=native)
        inner = {item.name: value for item, value in zip(parts.inputs, inputs, strict=True)}
        for part in parts.nodes:
            part_inputs = tuple(inner.get(value, f"{node.name}.{value}") for value in part.inputs)
            nodes.append(Node(f"{node.name}.{part.name}", part.layer, part_inputs))
        for outer, (_, value) in zip(value_names(node.name, len(parts.outputs)), parts.outputs, strict=True):
            renamed[outer] = inner.get(value, f"{node.name}.{value}")
    outputs = tuple((name, renamed.get(value, value)) for name, value in graph.outputs)
    return replace(graph, nodes=tuple(nodes), outputs=outputs)


def foldable_batch_norms(graph: Graph) -> dict[str, str]:
    """For each batch norm that folds, the convolution that takes it in: nothing else may read that convolution."""
    readers = graph.consumers()
    shown = {value for _, value in graph.outputs}
    producers = {node.name: node for node in graph.nodes}
    pairs: dict[str, str] = {}
    for node in graph.nodes:
        if not isinstance(node.layer, BatchNorm):
            continue
        source = producers.get(node.inputs[0])
        if source is None or not isinstance(source.layer, Conv):
            continue
        if len(readers[source.name]) == 1 and source.name not in shown:
            pairs[node.name] = source.name
    return pairs


def fold_batch_norm(graph: Graph) -> Graph:
    """Inference with each foldable batch norm taken into the convolution before it.

    The folded convolution has a bias and keeps its name; whoever read the batch norm reads the convolution instead.
    ``fold_arrays`` makes the arrays that go with it.
    """
    back = foldable_batch_norms(graph)
    convs = set(back.values())
    nodes = []
    for node in graph.nodes:
        if node.name in back:
            continue
        layer = node.layer
        if node.name in convs and isinstance(layer, Conv):
            layer = replace(layer, bias=True)
        nodes.append(replace(node, layer=layer, inputs=tuple(back.get(value, value) for value in node.inputs)))
    outputs = tuple((name, back.get(value, value)) for name, value in graph.outputs)
    return replace(graph, nodes=tuple(nodes), outputs=outputs)


def fold_arrays(graph: Graph, arrays: Arrays) -> dict[str, Array]:
    """The arrays (weights and state) of ``fold_batch_norm(graph)`` from those of ``graph``.

    w' = w a and b' = (b - mean) a + shift with a = scale / sqrt(var + eps), computed in float64 and rounded once to
    the dtype of w.
    """
    import numpy as np

    def wide(name: str) -> Array:
        return np.asarray(arrays[name], np.float64)

    folded = dict(arrays)
    for norm, conv in foldable_batch_norms(graph).items():
        layer = graph.node(norm).layer
        if not isinstance(layer, BatchNorm):
            continue
        factor = 1.0 / np.sqrt(wide(f"{norm}.running_var") + layer.eps)
        shift = np.zeros_like(factor)
        if layer.affine:
            factor = factor * wide(f"{norm}.weight")
            shift = wide(f"{norm}.bias")
        weight = wide(f"{conv}.weight")
        bias = wide(f"{conv}.bias") if f"{conv}.bias" in arrays else 0.0
        dtype = arrays[f"{conv}.weight"].dtype
        folded[f"{conv}.weight"] = (weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))).astype(dtype)
        folded[f"{conv}.bias"] = ((bias - wide(f"{norm}.running_mean")) * factor + shift).astype(dtype)
        for name in ("weight", "bias", "running_mean", "running_var"):
            folded.pop(f"{norm}.{name}", None)
    return folded
