"""The checks of a case: local, exact, end to end, gradient, determinism, training, classes."""

from cnnbench.numerics.checks.run import CHECKS, foresee, run_checks

__all__ = ["CHECKS", "foresee", "run_checks"]
