"""What this machine can do at best: matrix products and copies, to set measured speeds against."""

from __future__ import annotations

from collections.abc import Callable

from cnnbench.measurement.clock import MACHINE, Clock
from cnnbench.measurement.environment import allowed_processors
from cnnbench.measurement.least_work import MachineRates

MATRIX_SIZE = 1024
COPY_BYTES = 128 * 2**20
CACHED_BYTES = 2**18


def yardsticks(clock: Clock = MACHINE, *, seconds: float = 0.25, storage: str = "float32") -> dict[str, float]:
    """NumPy's matrix product in GFLOP/s (2 n^3 operations) and a copy in GB/s (read and write counted).

    Each is the best of as many tries as fit ``seconds`` (three at least): the best is what the machine can do, the
    rest is what disturbed it.

    Args:
        clock: For tests.
        seconds: Of each measurement.
        storage: ``float64`` for products of that type; float32 for every other.
    """
    import numpy as np

    dtype = np.float64 if storage == "float64" else np.float32
    left = np.random.default_rng(0).standard_normal((MATRIX_SIZE, MATRIX_SIZE)).astype(dtype)
    product = np.empty_like(left)
    source = np.ones(COPY_BYTES // 4, np.float32)
    target = np.empty_like(source)
    product_s = _best(lambda: np.matmul(left, left, out=product), clock, seconds)
    copy_s = _best(lambda: np.copyto(target, source), clock, seconds)
    return {
        "matrix_product_gflop_per_s": 2 * MATRIX_SIZE**3 / product_s / 1e9,
        "copy_gb_per_s": 2 * COPY_BYTES / copy_s / 1e9,
    }


def machine_rates(storage: str, clock: Clock = MACHINE, *, seconds: float = 0.25) -> MachineRates:
    """What the processors of this process can do at best, for the limit below which no latency is believed.

    Args:
        storage: ``float64`` for products of that type; float32 for every other.
        clock: For tests.
        seconds: Of each measurement.
    """
    import numpy as np

    dtype = np.float64 if storage == "float64" else np.float32
    left = np.random.default_rng(0).standard_normal((MATRIX_SIZE, MATRIX_SIZE)).astype(dtype)
    product = np.empty_like(left)
    source = np.ones(CACHED_BYTES // 4, np.float32)
    target = np.empty_like(source)
    product_s = _best(lambda: np.matmul(left, left, out=product), clock, seconds)
    copy_s = _best(lambda: np.copyto(target, source), clock, seconds / 8)
    return MachineRates(2 * MATRIX_SIZE**3 / product_s, 2 * CACHED_BYTES / copy_s * len(allowed_processors()))


def _best(call: Callable[[], object], clock: Clock, seconds: float) -> float:
    call()
    end = clock.now() + seconds
    durations: list[float] = []
    while len(durations) < 3 or clock.now() < end:
        start = clock.now()
        call()
        durations.append(clock.now() - start)
    return min(durations)
