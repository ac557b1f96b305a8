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
    """For each batch norm that folds, the convolution that takes it in.

    Nothing else may read that convolution; and where several convolutions use the same weights, each must be followed
    by the same batch norm (one whose own weights and statistics are shared), or none of them folds.
    """
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
    return _without_conflicts(graph, pairs)


def _without_conflicts(graph: Graph, pairs: dict[str, str]) -> dict[str, str]:
    """The pairs but for those of shared convolutions that not every use could fold into one array."""
    norms = {conv: graph.node(norm).owner for norm, conv in pairs.items()}
    kept = {owner for owner, users in graph.sharing.items() if len({norms.get(user) for user in users}) > 1}
    return {norm: conv for norm, conv in pairs.items() if graph.node(conv).owner not in kept}


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
    pairs = foldable_batch_norms(graph)
    owners = {graph.node(conv).owner: graph.node(norm) for norm, conv in pairs.items()}
    for conv, norm in owners.items():
        layer = norm.layer
        if not isinstance(layer, BatchNorm):
            continue
        factor = 1.0 / np.sqrt(wide(f"{norm.owner}.running_var") + layer.eps)
        shift = np.zeros_like(factor)
        if layer.affine:
            factor = factor * wide(f"{norm.owner}.weight")
            shift = wide(f"{norm.owner}.bias")
        weight = wide(f"{conv}.weight")
        bias = wide(f"{conv}.bias") if f"{conv}.bias" in arrays else 0.0
        dtype = arrays[f"{conv}.weight"].dtype
        folded[f"{conv}.weight"] = (weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))).astype(dtype)
        folded[f"{conv}.bias"] = ((bias - wide(f"{norm.owner}.running_mean")) * factor + shift).astype(dtype)
    left = {node.owner for node in graph.nodes if node.name not in pairs}
    for owner in {norm.owner for norm in owners.values()} - left:
        for name in ("weight", "bias", "running_mean", "running_var"):
            folded.pop(f"{owner}.{name}", None)
    return folded
