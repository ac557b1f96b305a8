"""Moves the channel axis; programs are channels-first throughout, so it is for ops that are asked for by themselves."""

from __future__ import annotations

from cnnbench.execution.layout_change import LayoutChange
from cnnbench.spec.interchange.to_onnx.writer import NodeWriter
from cnnbench_onnxruntime.ops.registry import writes


@writes(LayoutChange.kind)
def layout_change(node: NodeWriter) -> list[str]:
    """Transpose."""
    inner = range(1, node.rank)
    order = [*inner[1:], 1] if node.layer.to == "channels_last" else [node.rank - 1, *inner[:-1]]
    return [node.op("Transpose", node.x, perm=[0, *order])]
