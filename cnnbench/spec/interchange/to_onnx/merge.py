"""Values put together, and reduced along axes."""

from __future__ import annotations

from cnnbench.spec.interchange.to_onnx.writer import NodeWriter, exporter

_PAIRWISE = {
    "add": "Add", "multiply": "Mul", "subtract": "Sub", "divide": "Div", "power": "Pow", "maximum": "Max",
    "minimum": "Min",
}  # fmt: skip
_REDUCE = {
    "sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd",
    "l1": "ReduceL1", "l2": "ReduceL2", "sum_square": "ReduceSumSquare", "log_sum": "ReduceLogSum",
    "log_sum_exp": "ReduceLogSumExp",
}  # fmt: skip


@exporter(*_PAIRWISE)
def pairwise(node: NodeWriter) -> list[str]:
    """Two values at a time, from left to right."""
    operator = _PAIRWISE[node.layer.kind]
    if len(node.inputs) == 1:
        return [node.op("Identity", node.x)]
    value = node.x
    for other in node.inputs[1:]:
        value = node.op(operator, value, other)
    return [value]


@exporter("mean")
def mean(node: NodeWriter) -> list[str]:
    """Mean."""
    return [node.op("Mean", *node.inputs)]


@exporter("select")
def select(node: NodeWriter) -> list[str]:
    """Where the condition is not 0."""
    where, otherwise = node.inputs[1:]
    return [node.op("Where", node.op("Equal", node.x, node.constant(0.0, "zero")), otherwise, where)]


@exporter("reduce")
def reduce(node: NodeWriter) -> list[str]:
    """The reduction of that name."""
    layer = node.layer
    if layer.axes is None:
        return [node.op(_REDUCE[layer.function], node.x, keepdims=int(layer.keepdims))]
    axes = node.constant(list(layer.axes), "axes") if layer.axes else ""
    given = {"keepdims": int(layer.keepdims)} | ({} if layer.axes else {"noop_with_empty_axes": 1})
    return [node.op(_REDUCE[layer.function], node.x, *((axes,) if axes else ()), **given)]


@exporter("arg_reduce")
def arg_reduce(node: NodeWriter) -> list[str]:
    """ArgMax and ArgMin."""
    layer = node.layer
    operator = {"argmax": "ArgMax", "argmin": "ArgMin"}[layer.function]
    flags = {"keepdims": int(layer.keepdims), "select_last_index": int(layer.select_last_index)}
    return [node.op(operator, node.x, axis=layer.axis, **flags)]


@exporter("top_k")
def top_k(node: NodeWriter) -> list[str]:
    """TopK, sorted."""
    layer = node.layer
    k = node.constant([layer.k], "k")
    name = node.op("TopK", node.x, k, outputs=2, axis=layer.axis, largest=int(layer.largest), sorted=1)
    return [name, f"{name}#1"]


@exporter("quantize")
def quantize(node: NodeWriter) -> list[str]:
    """round(x / scale) + zero point within limits, in floats, as cnnbench holds such integers."""
    layer = node.layer
    scale, *zero = (_along(node, i) for i in range(1, len(node.inputs)))
    value = node.op("Round", node.op("Div", node.x, scale))
    for point in zero:
        value = node.op("Add", value, point)
    limits = [node.constant(float(limit), "limit") for limit in (layer.minimum, layer.maximum)]
    return [node.op("Clip", value, *limits)]


@exporter("dequantize")
def dequantize(node: NodeWriter) -> list[str]:
    """(x - zero point) scale."""
    scale, *zero = (_along(node, i) for i in range(1, len(node.inputs)))
    value = node.x
    for point in zero:
        value = node.op("Sub", value, point)
    return [node.op("Mul", value, scale)]


def _along(node: NodeWriter, position: int) -> str:
    """A scale or a zero point as it is broadcast: one number, or one for each position of the axis."""
    name, shape = node.inputs[position], node.shapes[position]
    if shape in ((), (1,)):
        return name
    after = node.rank - 1 - node.layer.axis
    axes = list(range(1, 1 + after))
    return node.op("Unsqueeze", name, node.constant(axes, "axes")) if axes else name
