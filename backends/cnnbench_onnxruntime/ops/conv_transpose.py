"""Transposed convolutions: ONNX Runtime takes no more output padding than a stride or a dilation."""

from __future__ import annotations

from typing import Any

from cnnbench_onnxruntime.ops.registry import OPERATIONS


def _is_beyond(layer: Any) -> bool:
    steps = zip(layer.output_padding, layer.stride, layer.dilation, strict=True)
    return any(extra >= max(stride, dilation) for extra, stride, dilation in steps)


OPERATIONS.lacks(
    "conv_transpose",
    "ONNX Runtime takes less output padding than the larger of stride and dilation",
    condition="more output padding",
    when=_is_beyond,
)
