"""ONNX's attributes of sliding windows, shared by convolution and pooling."""

from __future__ import annotations

from typing import NamedTuple

from cnnbench.spec.interchange.onnx_node import OnnxNode
from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.windows import Padding

_AUTO: dict[str, Padding] = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}


class Windows(NamedTuple):
    """The window of a node as layers have it."""

    kernel_size: Shape
    stride: Shape
    dilation: Shape
    padding: Padding


def windows(node: OnnxNode, kernel: Shape) -> Windows:
    """Strides, dilations and padding for a kernel of this size, with ONNX's defaults."""
    axes = len(kernel)
    ones = (1,) * axes
    return Windows(kernel, node.attribute("strides", ones), node.attribute("dilations", ones), padding(node, axes))


def padding(node: OnnxNode, axes: int) -> Padding:
    """``pads`` (all begins, then all ends) as pairs, or what ``auto_pad`` says."""
    auto = node.attribute("auto_pad", "NOTSET")
    if auto in _AUTO:
        return _AUTO[auto]
    pads = node.attribute("pads", (0,) * 2 * axes)
    if auto != "NOTSET" or len(pads) != 2 * axes or min(pads) < 0:
        raise node.reject(
            "the padding is not imported", received=f"auto_pad {auto}, pads {pads}", expected=f"{2 * axes} numbers >= 0"
        )
    return tuple((pads[i], pads[axes + i]) for i in range(axes))
