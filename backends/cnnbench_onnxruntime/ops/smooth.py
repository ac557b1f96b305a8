"""Smooth activations: ``Elu`` and ``Selu`` of ONNX Runtime subtract one from the exponential, which loses digits"""

from __future__ import annotations

from cnnbench.spec.interchange.to_onnx.activation import less_one, scaled
from cnnbench.spec.interchange.to_onnx.writer import NodeWriter
from cnnbench.spec.layers import SELU
from cnnbench_onnxruntime.ops.activation import logistic
from cnnbench_onnxruntime.ops.registry import writes


def exponential_unit(node: NodeWriter, slope: float, width: float = 1.0) -> str:
    """max(x, 0) + slope (exp(min(x, 0) / width) - 1).

    Args:
        node: Being written.
        slope: Of the negative side, times its width.
        width: Of the negative side.
    """
    zero = node.constant(0.0, "zero")
    below = scaled(node, node.op("Min", node.x, zero), 1 / width)
    return node.op("Add", node.op("Max", node.x, zero), scaled(node, less_one(node, below), slope))


@writes("elu")
def elu(node: NodeWriter) -> list[str]:
    """Without loss near zero."""
    return [exponential_unit(node, float(node.layer.alpha))]


@writes("celu")
def celu(node: NodeWriter) -> list[str]:
    """Without loss near zero."""
    alpha = float(node.layer.alpha)
    return [exponential_unit(node, alpha, alpha)]


@writes("selu")
def selu(node: NodeWriter) -> list[str]:
    """Without loss near zero; the constants are the paper's."""
    return [scaled(node, exponential_unit(node, SELU.ALPHA), SELU.SCALE)]


@writes("silu")
def silu(node: NodeWriter) -> list[str]:
    """x times the sigmoid by the exponential."""
    return [node.op("Mul", node.x, logistic(node, scaled(node, node.x, node.layer.beta)))]
