"""Response normalisation: ONNX Runtime's ``LRN`` slides its sum along channels, where large values leave errors"""

from __future__ import annotations

import math

from cnnbench.spec.interchange.to_onnx.activation import scaled, shifted
from cnnbench.spec.interchange.to_onnx.shape import reshaped
from cnnbench.spec.interchange.to_onnx.writer import NodeWriter
from cnnbench_onnxruntime.ops.registry import writes


@writes("local_response_norm")
def local_response_norm(node: NodeWriter) -> list[str]:
    """A mean over neighbouring channels, each window by itself."""
    layer, (_, channels, *spatial) = node.layer, node.shapes[0]
    before, after = layer.reach()
    rows = reshaped(node, node.op("Mul", node.x, node.x), [0, 1, channels, math.prod(spatial)])
    pads = [before, 0, after, 0]
    mean = node.op("AveragePool", rows, kernel_shape=[layer.size, 1], pads=pads, count_include_pad=1)
    factor = layer.alpha if layer.alpha_divided_by_size else layer.alpha * layer.size
    total = shifted(node, scaled(node, reshaped(node, mean, [0, channels, *spatial]), float(factor)), layer.k)
    return [node.op("Div", node.x, node.op("Pow", total, node.constant(float(layer.beta), "beta")))]
