"""Normal forms of single layers: one among the equivalent activations, poolings, paddings and gates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.spec.graph import Graph, Node
from cnnbench.spec.layers import ELU, Add, AvgPool, Flatten, GlobalAvgPool, InstanceNorm, ReLU, ReLU6, Shape


def usual(node: Node, graph: Graph) -> Any:
    """The layer in the most common of its equivalent forms."""
    layer: Any = node.layer
    shapes = graph.input_shapes(node)
    if layer.kind == "clip":
        limits = (layer.minimum, layer.maximum)
        return ReLU6() if limits == (0.0, 6.0) else ReLU() if limits == (0.0, None) else layer
    if layer.kind == "leaky_relu" and layer.negative_slope == 0:
        return ReLU()
    if layer.kind == "add" and layer.broadcast and len(set(shapes)) == 1:
        return Add()
    if layer.kind == "reduce" and layer.function == "mean" and _is_spatial(layer.axes, shapes[0]):
        return GlobalAvgPool(keep_spatial=layer.keepdims)
    if layer.kind == "adaptive_avg_pool":
        made, sizes = graph.output_shapes(node)[0][2:], shapes[0][2:]
        if set(made) == {1}:
            return GlobalAvgPool(keep_spatial=True)
        if not any(size % count for size, count in zip(sizes, made, strict=True)):
            window = tuple(size // count for size, count in zip(sizes, made, strict=True))
            return AvgPool(kernel_size=window, stride=window).resolve(shapes)
    if layer.kind == "celu" and layer.alpha == 1:
        return ELU()
    if layer.kind == "group_norm" and layer.groups == shapes[0][1] and len(shapes[0]) > 2:
        return InstanceNorm(eps=layer.eps, affine=layer.affine).resolve(shapes)
    if layer.kind == "avg_pool" and _is_whole(layer, shapes[0]):
        return GlobalAvgPool(keep_spatial=True)
    if layer.kind == "reshape" and len(graph.output_shapes(node)[0]) == 2 and not layer.whole and len(shapes[0]) > 2:
        return Flatten()
    return layer


def _is_spatial(axes: Any, shape: Shape) -> bool:
    return len(shape) > 2 and tuple(axes or ()) == tuple(range(2, len(shape)))


def _is_whole(layer: Any, shape: Shape) -> bool:
    return tuple(layer.kernel_size) == shape[2:] and not any(map(any, layer.padding)) and layer.divisor is None


def read_rows_only(node: Node, graph: Graph) -> Any:
    """The layer without padding at the end that no window reads, and with that which rounding up adds."""
    layer: Any = node.layer
    if layer.kind == "avg_pool" and layer.ceil_mode and _ends_whole(layer, graph.input_shapes(node)[0]):
        layer = replace(layer, ceil_mode=False)
    if layer.kind == "avg_pool" and not any(map(any, layer.padding)) and not layer.ceil_mode:
        return replace(layer, count_include_pad=True)
    if layer.kind not in ("conv", "max_pool"):
        return layer
    sizes, made = graph.input_shapes(node)[0][2:], graph.output_shapes(node)[0][2:]
    k, s, d = layer.window()
    needed = [(n - 1) * s[i] + d[i] * (k[i] - 1) + 1 - sizes[i] - layer.padding[i][0] for i, n in enumerate(made)]
    pairs = tuple((begin, max(end, 0)) for (begin, _), end in zip(layer.padding, needed, strict=True))
    return replace(layer, padding=pairs, **({"ceil_mode": False} if layer.kind == "max_pool" else {}))


def _ends_whole(layer: Any, shape: Shape) -> bool:
    """Whether the last window of each axis ends where the padded image does."""
    k, s, d = layer.window()
    pairs = zip(shape[2:], layer.padding, k, s, d, strict=True)
    return all((size + sum(pad) - d * (k - 1) - 1) % s == 0 for size, pad, k, s, d in pairs)


_USUAL_GATES = {"lstm": "ifgo", "gru": "rzn"}


def usual_gates(graph: Graph, arrays: dict[str, NDArray[Any]]) -> Graph:
    """Recurrent layers with PyTorch's order of gates, and with one bias where two are only added."""
    nodes = []
    for node in graph.nodes:
        layer: Any = node.layer
        order = _USUAL_GATES.get(layer.kind)
        if order is not None and layer.gate_order != order:
            places = [layer.gate_order.index(gate) for gate in order]
            for role in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "bias"):
                array = arrays.get(f"{node.name}.{role}")
                if array is not None:
                    parts = np.split(array, len(order))
                    arrays[f"{node.name}.{role}"] = np.concatenate([parts[place] for place in places])
            layer = replace(layer, gate_order=order)
        if layer.kind in ("lstm", "rnn") and layer.biases == "two":
            one, two = (arrays.pop(f"{node.owner}.{role}", None) for role in ("bias_ih", "bias_hh"))
            if one is not None and two is not None:
                arrays[f"{node.owner}.bias"] = np.asarray(one, np.float64) + two
            layer = replace(layer, biases="one")
        nodes.append(replace(node, layer=layer))
    return replace(graph, nodes=tuple(nodes))
