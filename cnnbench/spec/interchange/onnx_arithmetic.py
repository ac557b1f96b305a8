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
_FLOATS = (1, 10, 11, 16)  # TensorProto's FLOAT, FLOAT16, DOUBLE, BFLOAT16


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


@importer("Cast", "CastLike")
def cast(node: OnnxNode) -> Value:
    """A float in another width: the policy decides widths here. Nothing turns integers into floats or back."""
    to = node.attribute("to", _FLOATS[0]) if node.op == "Cast" else _FLOATS[0]
    if to not in _FLOATS or node.is_int(0) or (node.op == "CastLike" and node.is_int(1)):
        raise node.reject("a cast between integers and floats is not imported", expected="floats of another width")
    return node.value(0)
