"""Activations: ONNX Runtime's ``Sigmoid`` is a rational function that is right to 6e-8 of one, not of small results."""

from __future__ import annotations

from cnnbench.spec.interchange.to_onnx.writer import NodeWriter
from cnnbench_onnxruntime.ops.registry import OPERATIONS, writes

OPERATIONS.lacks(
    "hardmax", "ONNX Runtime passes over NaN where it looks for the largest value", special_values="always"
)


def logistic(node: NodeWriter, value: str) -> str:
    """1 / (1 + exp(-value)). Args: node: being written. value: of any shape."""
    return node.op("Reciprocal", node.op("Add", node.op("Exp", node.op("Neg", value)), node.constant(1.0, "one")))


@writes("sigmoid")
def sigmoid(node: NodeWriter) -> list[str]:
    """By the exponential."""
    return [logistic(node, node.x)]
