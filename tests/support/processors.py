"""Which kernels the frameworks choose on this processor."""

from __future__ import annotations

from pathlib import Path

import pytest


def has(*flags: str) -> bool:
    """Whether this processor has one of these instruction sets; True where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return True
    return "flags" not in text or any(flag in text for flag in flags)


def has_avx512() -> bool:
    """Whether this processor has AVX-512; True where the system does not tell."""
    return has("avx512f")


def needs(kernels: str) -> None:
    """Skips a test of what was seen with these kernels only.

    Args:
        kernels: ``oneDNN``, which TensorFlow takes by itself on newer processors; ``AVX-512``; ``AVX-512 in bfloat16``,
            where no tiles (AMX) are taken in its place; ``less than AVX512-FP16``, whose kernels are right; "" for any.
    """
    if kernels == "AVX-512 in bfloat16" and (not has("avx512_bf16") or has("amx_bf16")):
        pytest.skip("seen with kernels that multiply bfloat16 without tiles, which are not taken on this processor")
    if kernels == "less than AVX512-FP16" and has("avx512_fp16"):
        pytest.skip("seen with kernels that multiply no float16, which are not taken on this processor")
    if kernels == "AVX-512" and not has_avx512():
        pytest.skip("seen with kernels for AVX-512, which this processor does not have")
    if kernels == "oneDNN" and not pytest.importorskip("cnnbench_tensorflow.framework").ONEDNN:
        pytest.skip("seen with oneDNN's kernels, which TensorFlow does not take here (TF_ENABLE_ONEDNN_OPTS=1)")
