"""Importers of functions of each value on its own."""

from __future__ import annotations

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_inputs import numpy_dtype
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
_KINDS = {"f": "floats", "i": "integers", "b": "booleans", "narrow": "integers of 8 or 16 bits"}


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


@importer("Cast", "CastLike")
def cast(node: OnnxNode) -> Value:
    """A number in another width of its kind: the policy decides widths here. Booleans, 0 and 1, become floats too."""
    if node.op == "CastLike":
        to = "i" if node.is_int(1) else "f"
    else:
        dtype = numpy_dtype(node.attribute("to", 1))
        to = {"f": "f", "V": "f", "i": "i", "u": "i"}.get(dtype.kind, dtype.kind)
        to = "narrow" if to == "i" and dtype.itemsize < 4 else to
    kind = "b" if node.is_truth(0) else "i" if node.is_int(0) else "f"
    if (kind, to) not in (("f", "f"), ("b", "f"), ("i", "i")):
        raise node.reject(
            "a cast between integers and floats of computed values is not imported",
            received=f"{_KINDS[kind]} to {_KINDS.get(to, to)}",
            expected="a number of the same kind in another width, or booleans to floats",
        )
    return node.value(0) if kind == "i" else node.number(0)
