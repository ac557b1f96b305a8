"""The smallest suite that makes a real run: one network of 8 x 8 pixels on NumPy, a few calls of each cell."""

from __future__ import annotations

from typing import Any

from cnnbench.harness.suite.model import Suite

TWO = {"backends": [{"name": "numpy", "mode": ["fast", "reference"]}]}
TRAIN = {"architectures": ["simple_cnn"], "epochs": 2, "batch": 256, "envelope_runs": 2}
LATENCY = {"launches": 1, "rounds": 2, "samples": 2, "max_round_s": 0.1, "warmup": {"max_s": 0.2}}


def small_suite(
    name: str,
    *,
    matrix: dict[str, Any] | None = None,
    latency: dict[str, Any] | None = None,
    checks: tuple[str, ...] = (),
    **changes: Any,
) -> Suite:
    """The suite with what differs from it; ``changes`` replace whole sections."""
    return Suite.model_validate(
        {
            "schema_version": 1,
            "name": name,
            "matrix": {
                "architectures": ["simple_cnn"],
                "image": [[1, 8, 8]],
                "num_classes": 10,
                "backends": ["numpy"],
            }
            | (matrix or {}),
            "checks": {"names": list(checks)},
            "measure": {"latency": LATENCY | (latency or {}), "memory": False, "yardsticks": False},
        }
        | changes
    )
