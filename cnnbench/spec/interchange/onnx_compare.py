"""Importers of comparisons and logic, whose answers are 0 and 1 in floats.

A comparison is written in layers that are exact for every number: a is larger than b where a has the position of the
larger of both, and b that of the smaller. One NaN has both positions, so that no comparison with it holds; two are told
from equal numbers by limits of 0 and 0, which NaN passes. (A difference would not do: infinity less infinity is NaN.)
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import OnnxNode, importer, truth
from cnnbench.spec.interchange.onnx_repeat import expanded
from cnnbench.spec.interchange.onnx_shape import raised
from cnnbench.spec.interchange.onnx_tensor import Tensor
from cnnbench.spec.layers import Concat
from cnnbench.spec.layers.arithmetic import Affine, Clip, Elementwise
from cnnbench.spec.layers.indexing import GatherIndices
from cnnbench.spec.layers.merge import Maximum, Multiply, Select, Subtract
from cnnbench.spec.layers.reduction import ArgReduce
from cnnbench.spec.layers.shape import Unsqueeze


@importer("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal")
def compare(node: OnnxNode) -> Tensor:
    """A comparison of floats, or of booleans."""
    if any(node.is_int(i) and not node.is_truth(i) for i in (0, 1)):
        raise node.reject("a comparison of computed integers is not imported", expected="floating-point numbers")
    first, pair = _pair(node)
    if node.op == "Equal":
        answers = [_at_least(node, pair, 0), _at_least(node, pair, 1), _is_number(node, first)]
        both = node.add(Multiply(), *answers[:2], part="neither_is_larger")
        return truth(node.add(Multiply(), both, answers[2]))
    position = 0 if node.op.startswith("Greater") else 1  # a < b is b > a
    if not node.op.endswith("OrEqual"):
        return truth(_above(node, pair, position))
    return truth(node.add(Multiply(), _at_least(node, pair, position), _is_number(node, first)))


def _pair(node: OnnxNode) -> tuple[Value, Value]:
    """The first operand in the shape of the result, and both side by side along a new last axis."""
    rank = max(len(node.shape(0)), len(node.shape(1)))
    shapes = [(1,) * (rank - len(node.shape(i))) + node.shape(i) for i in (0, 1)]
    target = tuple(b if a == 1 else a for a, b in zip(*shapes, strict=True))
    a, b = (expanded(node, raised(node, _operand(node, i), rank, f"raised{i}"), target, f"side{i}") for i in (0, 1))
    columns = [node.add(Unsqueeze(axes=(rank,)), x, part=f"column{i}") for i, x in enumerate((a, b))]
    return a, node.add(Concat(axis=rank), *columns, part="pair")


def _operand(node: OnnxNode, position: int) -> Value:
    """An operand; a known one is no weight, since no gradient reaches it."""
    array = node.constant(position)
    if array is None:
        return node.number(position)
    floats = array if array.dtype.kind == "f" else array.astype(np.float32)
    return node.parameter(floats, f"constant{position}", trainable=False)


def _is_number(node: OnnxNode, x: Value) -> Value:
    """1 where a value is a number or infinite, 0 where it is NaN."""
    limited = node.add(Clip(minimum=0.0, maximum=0.0), x, part="limited")
    ones = (1,) * len(x.shape)
    zero, one = (
        node.parameter(np.full(ones, number, np.float32), name, trainable=False)
        for number, name in ((0, "zero"), (1, "one"))
    )
    return node.add(Select(), limited, zero, one, part="is_number")


def _above(node: OnnxNode, pair: Value, first: int) -> Value:
    """Where the operand ``first`` is larger: of equals the other one is taken as the larger, and as the smaller."""
    largest = _taken(node, pair, "argmax", last=first == 0)
    least = _taken(node, pair, "argmin", last=first == 1)
    return _both(node, largest, least, first, f"above{first}")


def _at_least(node: OnnxNode, pair: Value, first: int) -> Value:
    """Where the operand ``first`` is larger or equal: of equals it is taken as the larger, the other as the smaller."""
    largest = _taken(node, pair, "argmax", last=first == 1)
    least = _taken(node, pair, "argmin", last=first == 0)
    return _both(node, largest, least, first, f"at_least{first}")


def _taken(node: OnnxNode, pair: Value, function: Literal["argmax", "argmin"], *, last: bool) -> Value:
    layer = ArgReduce(function=function, axis=len(pair.shape) - 1, keepdims=False, select_last_index=last)
    return node.add(layer, pair, part=f"{function}_{'last' if last else 'first'}")


def _both(node: OnnxNode, largest: Value, least: Value, first: int, part: str) -> Value:
    """1 where the operand ``first`` is the largest and the other one the least."""
    answers = []
    for name, position, expected in (("largest", largest, first), ("least", least, 1 - first)):
        table = node.parameter(np.eye(2, dtype=np.float32)[expected], f"{part}_{name}_table", trainable=False)
        answers.append(node.add(GatherIndices(), table, position, part=f"{part}_{name}"))
    return node.add(Multiply(), *answers, part=part)


@importer("And", "Or", "Xor")
def logic(node: OnnxNode) -> Tensor:
    """Logic of 0 and 1: the product, the larger, the distance."""
    rank = max(len(node.shape(0)), len(node.shape(1)))
    a, b = (raised(node, node.number(i), rank, f"raised{i}") for i in (0, 1))
    if node.op == "Xor":
        return truth(node.add(Elementwise(function="abs"), node.add(Subtract(), a, b, part="difference")))
    return truth(node.add(Multiply() if node.op == "And" else Maximum(), a, b))


@importer("Not")
def negation(node: OnnxNode) -> Tensor:
    """1 - x."""
    return truth(node.add(Affine(scale=-1.0, shift=1.0), node.number(0)))
