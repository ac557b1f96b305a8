"""Importers of dropout."""

from __future__ import annotations

from cnnbench.spec.interchange.onnx_node import OnnxNode, Result, importer
from cnnbench.spec.layers import Dropout


@importer("Dropout")
def dropout(node: OnnxNode) -> list[Result]:
    """Dropout, at rest in inference; its mask is then all ones."""
    ratio = node.scalar(1, "the ratio", 0.5)
    training = bool(node.scalar(2, "training_mode")) if node.has(2) else False
    if training and ratio:
        raise node.reject(
            "dropout in training mode draws its mask from NumPy's own generator",
            received=f"training_mode, ratio {ratio:g}",
            expected="training_mode false: the layer's mask is a program input when it is trained here",
        )
    y = node.add(Dropout(p=ratio), node.value(0))
    return [y, node.filled(y.shape, True, bool)]
