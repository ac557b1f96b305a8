"""Puts arrays of Keras into the shapes and orders of a network's nodes: rows, gates and biases."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cnnbench.spec.graph import Graph
from cnnbench.spec.layers import Shape

if TYPE_CHECKING:
    from cnnbench.spec.interchange.keras_config import KerasModel
    from cnnbench.spec.weights import Array

_GATES = {"lstm": "ifgo", "gru": "zrn", "rnn": "h"}  # Keras' order
_LEAST_VARIANCE = 1e-14  # Normalization divides by 1e-7 at least
_BY_ROWS = {"batch_norm", "frozen_batch_norm", "layer_norm", "prelu", "channel_affine"}


def placed(
    graph: Graph, found: Mapping[str, Array], orders: Mapping[str, Any], expected: Mapping[str, Shape]
) -> dict[str, Array]:
    """The arrays as the nodes have them; those that do not fit stay as they are.

    Args:
        graph: The network, of primitive kinds.
        found: By the network's names.
        orders: By node, the place in the file's order of each of its inputs.
        expected: The shapes of the network's arrays.
    """
    result = dict(found)
    for node in graph.nodes:
        if node.owner != node.name:
            continue
        prefix = f"{node.name}."
        own = {name.removeprefix(prefix): result.pop(name) for name in list(result) if _is_of(name, prefix)}
        if node.layer.kind in _GATES:
            own = _recurrent(node.layer, own)
        if node.layer.kind == "frozen_batch_norm" and "running_var" in own:
            own["running_var"] = own["running_var"].clip(_LEAST_VARIANCE)
        order = orders.get(node.name)
        if order is not None:
            own = {role: _ordered(node.layer.kind, role, array, order) for role, array in own.items()}
        result |= {prefix + role: _shaped(array, expected.get(prefix + role)) for role, array in own.items()}
    return result


def stated_statistics(config: Mapping[str, Any]) -> dict[str, Array]:
    """The mean and variance that the configuration of a Normalization states, {} where they are variables.

    Args:
        config: Of the layer.
    """
    import numpy as np

    if config.get("mean") is None:
        return {}
    return {
        f"running_{name}": np.asarray(config[key], np.float64) for name, key in (("mean", "mean"), ("var", "variance"))
    }


def stated_arrays(model: KerasModel) -> dict[str, Array]:
    """What layers of a model state in their configuration and have no variables for, by the network's names.

    Args:
        model: The configuration.
    """
    layers = (layer for layer in model.every_layer() if layer.cls == "Normalization")
    return {f"{layer.name}.{own}": array for layer in layers for own, array in stated_statistics(layer.config).items()}


def _is_of(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and "." not in name.removeprefix(prefix)


def _ordered(kind: str, role: str, array: Array, order: Any) -> Array:
    if kind in _BY_ROWS:
        flat = array.reshape(-1)
        return flat[order].copy() if flat.size == len(order) else array
    if role == "weight" and array.ndim > 1 and array.shape[1] == len(order):
        return array[:, order].copy()
    return array


def _shaped(array: Array, shape: Shape | None) -> Array:
    """In the network's shape, where that is another by axes of size 1 or by joined axes alone."""
    if shape is None or tuple(array.shape) == shape or len(shape) == 0:
        return array
    same = [n for n in array.shape if n != 1] == [n for n in shape if n != 1]
    return array.reshape(shape) if same or (array.size == math.prod(shape) and 1 in (array.ndim, len(shape))) else array


def _recurrent(layer: Any, own: dict[str, Array]) -> dict[str, Array]:
    """Gates in the node's order, and as many biases as it has."""
    import numpy as np

    theirs = _GATES[layer.kind]
    gates = getattr(layer, "gate_order", theirs)
    rows = np.concatenate([np.arange(layer.hidden_size) + theirs.index(gate) * layer.hidden_size for gate in gates])
    bias = own.pop("bias", None)
    if any(array.shape[0] != len(rows) for array in own.values()):
        return own if bias is None else {**own, "bias": bias}
    result = {role: array[rows].copy() for role, array in own.items()}
    if bias is None:
        zeros = np.zeros(len(rows), np.float32)
        return result | {"two": {"bias_ih": zeros, "bias_hh": zeros.copy()}, "one": {"bias": zeros}}.get(
            layer.biases, {}
        )
    both = (bias[rows], np.zeros_like(bias)) if bias.ndim == 1 else (bias[0][rows], bias[1][rows])
    if layer.biases == "one":
        return result | {"bias": both[0] + both[1]}
    return result | {"bias_ih": both[0].copy(), "bias_hh": both[1].copy()}
