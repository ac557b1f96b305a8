"""Pooling: what ONNX Runtime makes of NaN and infinities."""

from __future__ import annotations

from cnnbench_onnxruntime.ops.registry import OPERATIONS

for _kind in ("max_pool", "min_pool", "global_max_pool"):
    OPERATIONS.lacks(
        _kind, "ONNX Runtime passes over NaN where it looks for the largest value", special_values="always"
    )
OPERATIONS.lacks(
    "adaptive_avg_pool",
    "uneven windows are products with a matrix, in which 0 times NaN or infinity is NaN",
    special_values="always",
)
