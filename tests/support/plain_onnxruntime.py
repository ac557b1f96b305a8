"""ONNX Runtime's own operators, used plainly: what an exporter writes that has not heard of the defects in them."""

from __future__ import annotations

from cnnbench_onnxruntime.ops.registry import Values, written

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.interchange.to_onnx.model import exporters


def exported(layer: object, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The operators that ``cnnbench export`` writes, which are ONNX's own for the layer where it has one."""
    return written(exporters()[layer.kind], layer, inputs, weights, state)


def subtracting_one(layer: object, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``Exp``, then ``Sub`` of one."""

    def write(node):
        return [node.op("Sub", node.op("Exp", node.x), node.constant(1.0))]

    return written(write, layer, inputs, weights, state)
