"""LSTM, GRU and RNN: ONNX has the steps first, a direction axis, and an order of gates of its own."""

from __future__ import annotations

import numpy as np

from cnnbench.spec.interchange.to_onnx.writer import Array, NodeWriter, exporter
from cnnbench.spec.layers.gates import GATE_FUNCTIONS

_ORDER = {"lstm": "iofg", "gru": "zrn"}
_NAMES = {
    "sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "softsign": "Softsign", "softplus": "Softplus",
    "hard_sigmoid": "HardSigmoid", "elu": "Elu", "leaky_relu": "LeakyRelu", "thresholded_relu": "ThresholdedRelu",
    "affine": "Affine", "scaled_tanh": "ScaledTanh",
}  # fmt: skip


@exporter("lstm", "gru", "rnn")
def recurrent(node: NodeWriter) -> list[str]:
    """The operator between two exchanges of batch and steps."""
    layer = node.layer
    operator = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}[layer.kind]
    first = node.constant([0], "axes")
    starts = [node.op("Unsqueeze", start, first) for start in node.inputs[1:]]
    operands = [
        node.op("Transpose", node.x, perm=[1, 0, 2]),
        node.weight("weight_ih", lambda a: _rows(node, a)[np.newaxis], "onnx"),
        node.weight("weight_hh", lambda a: _rows(node, a)[np.newaxis], "onnx"),
        _bias(node),
        *(("", *starts) if starts else ()),
    ]
    while operands[-1] == "":
        operands.pop()
    gates = layer.gates()
    takes = [len(GATE_FUNCTIONS[gate.function]) for gate in gates]
    attributes = {
        "hidden_size": layer.hidden_size,
        "direction": "reverse" if layer.reverse else "forward",
        "activations": [_NAMES[gate.function] for gate in gates],
        "activation_alpha": [gate.alpha for gate, count in zip(gates, takes, strict=True) if count] or None,
        "activation_beta": [gate.beta for gate, count in zip(gates, takes, strict=True) if count > 1] or None,
    }
    if layer.kind == "gru":
        attributes["linear_before_reset"] = int(layer.reset == "after")
    count = 3 if layer.kind == "lstm" else 2
    name = node.op(operator, *operands, outputs=count, **attributes)
    steps = node.op("Transpose", node.op("Squeeze", name, node.constant([1], "axes")), perm=[1, 0, 2])
    return [steps, *(node.op("Squeeze", f"{name}#{i}", first) for i in range(1, count))]


def _rows(node: NodeWriter, array: Array) -> Array:
    """The rows of a weight in ONNX's order of gates."""
    layer = node.layer
    if layer.kind == "rnn":
        return array
    blocks = dict(zip(layer.gate_order, np.split(array, len(layer.gate_order)), strict=True))
    return np.concatenate([blocks[gate] for gate in _ORDER[layer.kind]])


def _bias(node: NodeWriter) -> str:
    """Both biases side by side; "" for none."""
    biases = node.layer.biases
    if biases == "none":
        return ""
    if biases == "one":
        return node.weight("bias", lambda a: np.concatenate([_rows(node, a), np.zeros_like(a)])[np.newaxis], "onnx")

    def both(array: Array) -> Array:
        return np.concatenate([_rows(node, array), _rows(node, node.array("bias_hh"))])[np.newaxis]

    return node.weight("bias_ih", both, "onnx")
