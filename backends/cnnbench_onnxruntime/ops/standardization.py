"""Group normalisation: ONNX's own function of it takes the variance as E[x^2] - E[x]^2, which cancels."""

from __future__ import annotations

import math

import numpy as np

from cnnbench.spec.interchange.to_onnx.shape import reshaped
from cnnbench.spec.interchange.to_onnx.writer import NodeWriter
from cnnbench_onnxruntime.ops.registry import writes


@writes("group_norm")
def group_norm(node: NodeWriter) -> list[str]:
    """Instance normalisation of the groups, which centres first."""
    layer, (_, *inside) = node.layer, node.shapes[0]
    rows = reshaped(node, node.x, [0, layer.groups, math.prod(inside) // layer.groups])
    one, zero = (node.constant(make(layer.groups), "unit") for make in (np.ones, np.zeros))
    normal = node.op("InstanceNormalization", rows, one, zero, epsilon=float(layer.eps))
    found = reshaped(node, normal, [0, *inside])
    if not layer.affine:
        return [found]
    return [node.op("Add", node.op("Mul", found, node.per_channel("weight")), node.per_channel("bias"))]
