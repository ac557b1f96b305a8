"""Importers of functions of each value on its own."""

from __future__ import annotations

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import OnnxNode, importer
from cnnbench.spec.layers.arithmetic import Clip, Elementwise, Function

FUNCTIONS: dict[str, Function] = {
    "Abs": "abs",
    "Acos": "acos",
    "Acosh": "acosh",
    "Asin": "asin",
    "Asinh": "asinh",
    "Atan": "atan",
    "Atanh": "atanh",
    "Ceil": "ceil",
    "Cos": "cos",
    "Cosh": "cosh",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "Log": "log",
    "Neg": "negate",
    "Reciprocal": "reciprocal",
    "Round": "round",
    "Sign": "sign",
    "Sin": "sin",
    "Sinh": "sinh",
    "Sqrt": "sqrt",
    "Tan": "tan",
}


@importer(*FUNCTIONS)
def elementwise(node: OnnxNode) -> Value:
    """An element-wise function."""
    return node.add(Elementwise(function=FUNCTIONS[node.op]), node.value(0))


@importer("Clip")
def clip(node: OnnxNode) -> Value:
    """Clip between limits that are known; without any, the value itself."""
    low = node.scalar(1, "the minimum") if node.has(1) else None
    high = node.scalar(2, "the maximum") if node.has(2) else None
    if low is None and high is None:
        return node.value(0)
    return node.add(Clip(minimum=low, maximum=high), node.value(0))


@importer("Identity")
def identity(node: OnnxNode) -> Value:
    """The value itself."""
    return node.value(0)
