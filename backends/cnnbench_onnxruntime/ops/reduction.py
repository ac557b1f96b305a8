"""Positions of extremes and the largest few: what ONNX Runtime makes of NaN."""

from __future__ import annotations

from cnnbench_onnxruntime.ops.registry import OPERATIONS

for _kind in ("arg_reduce", "top_k"):
    OPERATIONS.lacks(
        _kind, "ONNX Runtime passes over NaN where it looks for the largest value", special_values="always"
    )
