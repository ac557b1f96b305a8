"""Takes batch norms into the convolutions before them, for inference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cnnbench.spec.graph import Graph
from cnnbench.spec.layers import BatchNorm, Conv

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Arrays = Mapping[str, Array]


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
