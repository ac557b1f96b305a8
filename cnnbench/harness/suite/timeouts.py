"""What a suite says of patience: when a worker's answer is overdue."""

from __future__ import annotations

from cnnbench.harness.suite.matrix import PositiveFloat
from cnnbench.spec.frozen import Frozen


class Timeouts(Frozen):
    """After how many seconds a worker counts as hung.

    Args:
        start_s: Until it answers, the framework's import included. compile_s: build, load and first call.
        call_s: Any other single request: a round, a check's pass, a chunk of training.
        claim_s: The whole experiment of a claim, which may train dozens of networks.
    """

    start_s: PositiveFloat = 120.0
    compile_s: PositiveFloat = 600.0
    call_s: PositiveFloat = 300.0
    claim_s: PositiveFloat = 14_400.0
