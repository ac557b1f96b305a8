"""Tells which accelerators a machine has without importing a framework."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


@functools.cache
def cuda_devices() -> int:
    """How many CUDA devices NVIDIA's driver shows to this process; 0 without a driver.

    Source: CUDA driver API, ``cuInit`` and ``cuDeviceGetCount``; the call respects ``CUDA_VISIBLE_DEVICES``.
    """
    return count_devices(lambda: ctypes.CDLL("libcuda.so.1"))


def count_devices(load: Callable[[], ctypes.CDLL]) -> int:
    """How many devices a driver's library counts; 0 where it does not load or refuses."""
    try:
        driver = load()
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
