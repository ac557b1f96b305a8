"""Which kernels the frameworks choose here: on processors without AVX-512 they do not take oneDNN's."""

from __future__ import annotations

from pathlib import Path

import pytest


def has_avx512() -> bool:
    """Whether this processor has AVX-512; True where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return True
    return "flags" not in text or "avx512f" in text


def needs_avx512() -> None:
    """Skips a test of what was seen with oneDNN's kernels for AVX-512 only."""
    if not has_avx512():
        pytest.skip("seen with kernels for AVX-512, which this processor does not have")
