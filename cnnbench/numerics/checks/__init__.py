"""The checks of a case: local, exact, end to end, timed, special, gradient, determinism, training, classes."""

from cnnbench.numerics.checks.run import CHECKS, prefetch, run_checks

__all__ = ["CHECKS", "prefetch", "run_checks"]
