"""How a worker process is started: its interpreter, environment and processors, the same for all that are compared."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from cnnbench.measurement.environment import allowed_processors

ALLOCATOR = {
    # Buffers of 25 MB would otherwise be mapped anew on each call, and page faults would take most of the time.
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32 - 1),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
EXACT_ALLOCATOR = {
    # Kept buffers cannot always be used again (alignment), so that a peak would count some twice: each is mapped apart.
    "MALLOC_MMAP_THRESHOLD_": str(2**17),
    "MALLOC_TRIM_THRESHOLD_": str(2**17),
    "MALLOC_TOP_PAD_": "0",
}
FIXED = {
    "OMP_WAIT_POLICY": "PASSIVE",  # an idle worker must not spin beside the one that is timed
    "PYTHONHASHSEED": "0",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",  # no pool of compiler processes that outlives a request
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "NPROC",
)
USER_VARIABLES = ("LOGNAME", "USER", "LNAME", "USERNAME")
CPU_ONLY = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}


@dataclass(frozen=True)
class WorkerSpec:
    """What cells must have in common to share a worker.

    Args:
        backend: Its name; None for a worker that measures the machine.
        python: The interpreter; another one has another environment of packages.
        device: ``cpu``, ``cuda``, ``cuda:1``.
        threads: Computing threads; None for every processor that this process may use.
        side: Of an A/B run. Its two sides share no worker, even where their interpreters are one.
        exact_memory: Freed buffers go back to the system at once: peaks are right, calls slow.
    """

    backend: str | None
    python: str = sys.executable
    device: str = "cpu"
    threads: int | None = None
    side: str = "head"
    exact_memory: bool = False

    @property
    def processors(self) -> tuple[int, ...]:
        """The processors that the worker is bound to."""
        allowed = allowed_processors()
        return tuple(allowed if self.threads is None else allowed[: self.threads])

    @property
    def num_threads(self) -> int:
        """Computing threads: as many as asked for, even where there are fewer processors."""
        return self.threads or len(self.processors)

    def variables(self) -> dict[str, str]:
        """What is set in the worker's environment beyond the parent's; recorded with each cell."""
        threads = {name: str(self.num_threads) for name in THREAD_VARIABLES}
        allocator = EXACT_ALLOCATOR if self.exact_memory else ALLOCATOR
        return {**FIXED, **allocator, **threads, **(CPU_ONLY if self.device == "cpu" else {})}

    def environment(self, parent: Mapping[str, str] | None = None) -> dict[str, str]:
        """The worker's whole environment. A user id without a name, as in some containers, gets one, for torch asks."""
        given = os.environ if parent is None else parent
        nameless = not any(given.get(name) for name in USER_VARIABLES)
        return {**given, **({"USER": f"user-{os.getuid()}"} if nameless else {}), **self.variables()}
