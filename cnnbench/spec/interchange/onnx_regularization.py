"""Importers of dropout, and of what passes a value on at inference."""

from __future__ import annotations

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_metadata import kept_for
from cnnbench.spec.interchange.onnx_node import OnnxNode, Result, importer
from cnnbench.spec.layers import Dropout, StochasticDepth
from cnnbench.spec.layers.loss import StopGradient


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
    kept = kept_for(node.proto, "dropout")
    layer = Dropout(**{"p": ratio} | (kept.fields if kept else {}))
    y = node.add(layer, node.value(0))
    return [y, node.filled(y.shape, True, bool)]


@importer("Identity")
def identity(node: OnnxNode) -> Value:
    """The value itself; where cnnbench wrote the model, perhaps a layer that only acts in training."""
    kept = kept_for(node.proto, "stochastic_depth", "stop_gradient")
    if kept is None:
        return node.value(0)
    layer = StochasticDepth(**kept.fields) if kept.kind == "stochastic_depth" else StopGradient(**kept.fields)
    return node.add(layer, node.value(0))
