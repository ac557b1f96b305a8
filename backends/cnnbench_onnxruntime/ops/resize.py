"""Resizing: ONNX Runtime has cubic kernels for images alone; others are products with each axis' matrix."""

from __future__ import annotations

from cnnbench.spec.interchange.to_onnx.pooling import along
from cnnbench.spec.interchange.to_onnx.sampling import resize as exported
from cnnbench.spec.interchange.to_onnx.writer import NodeWriter
from cnnbench.spec.layers.interpolation import matrix
from cnnbench_onnxruntime.ops.registry import writes


@writes("resize")
def resize(node: NodeWriter) -> list[str]:
    """ONNX Runtime's own where it has one."""
    layer = node.layer
    without_edges = layer.mode == "linear" and layer.exclude_outside and not layer.antialias
    if not without_edges and (layer.mode != "cubic" or node.rank == 4):
        return exported(node)
    value = node.x
    for position, axis in enumerate(layer.axes(tuple(node.shapes[0][2:])), start=2):
        value = along(node, value, position, matrix(axis).T)
    return [value]
