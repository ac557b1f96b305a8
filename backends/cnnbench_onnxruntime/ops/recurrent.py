"""Recurrent layers: the gates of ONNX Runtime's kernels are right to 6e-8 of one, not of small results."""

from __future__ import annotations

from cnnbench_onnxruntime.ops.registry import OPERATIONS

for _kind in ("lstm", "gru"):
    OPERATIONS.lacks(
        _kind,
        "ONNX Runtime's gates are right to 6e-8 of one: small states lose all digits, and NaN becomes a number",
        condition="all",
        when=lambda layer: True,
    )
