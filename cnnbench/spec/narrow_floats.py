"""The dtypes of safetensors files that NumPy lacks, read as the equal float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


def _bfloat16(data: bytes) -> Array:
    import numpy as np

    wide: Array = np.left_shift(np.frombuffer(data, "<u2").astype("<u4"), 16).view("<f4")
    return wide


def _e5m2(data: bytes) -> Array:
    """The upper byte of a float16."""
    import numpy as np

    wide: Array = np.left_shift(np.frombuffer(data, "u1").astype("<u2"), 8).view("<f2").astype("<f4")
    return wide


def _e4m3(data: bytes) -> Array:
    """Sign, four bits of exponent with bias 7, three of mantissa; no infinity, NaN where all but the sign are 1."""
    import numpy as np

    codes = np.arange(256)
    exponent, mantissa = codes >> 3 & 15, codes & 7
    size = np.where(exponent == 0, mantissa * 2.0**-9, (8 + mantissa) * 2.0 ** (exponent - 10))
    values = np.where(codes & 127 == 127, np.nan, np.where(codes < 128, size, -size)).astype("<f4")
    wide: Array = values[np.frombuffer(data, "u1")]
    return wide


def _e8m0(data: bytes) -> Array:
    """A power of two with bias 127; NaN where all bits are 1."""
    import numpy as np

    codes = np.frombuffer(data, "u1")
    return np.where(codes == 255, np.nan, np.ldexp(1.0, codes.astype(int) - 127)).astype("<f4")


WIDENED: Mapping[str, Callable[[bytes], Array]] = {
    "BF16": _bfloat16,
    "F8_E4M3": _e4m3,
    "F8_E5M2": _e5m2,
    "F8_E8M0": _e8m0,
}
