"""Importers of sampling at points."""

from __future__ import annotations

from typing import Any

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import OnnxNode, importer
from cnnbench.spec.layers.sampling import GridSample

_MODES: dict[str, Any] = {"bilinear": "linear", "bicubic": "cubic"}  # the names before opset 20


@importer("GridSample")
def grid_sample(node: OnnxNode) -> Value:
    """GridSample."""
    mode = node.attribute("mode", "linear")
    layer = GridSample(
        mode=_MODES.get(mode, mode),
        padding=node.attribute("padding_mode", "zeros"),
        align_corners=bool(node.attribute("align_corners", 0)),
    )
    return node.add(layer, node.value(0), node.value(1))
