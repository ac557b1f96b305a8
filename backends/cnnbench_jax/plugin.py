"""Tells of the JAX backend without importing JAX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnbench.hookspecs import hookimpl
from cnnbench_jax.offered import DEVICES, LAYOUTS, MODES, PRECISIONS

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend, BackendPlugin


def _load() -> Backend:
    from cnnbench_jax.backend import JaxBackend

    return JaxBackend()


@hookimpl
def cnnbench_backends() -> Sequence[BackendPlugin]:
    """JAX under ``jit``."""
    from cnnbench.execution.contract import BackendPlugin

    return [
        BackendPlugin(
            name="jax",
            requires=("jax", "jaxlib", "optax"),
            load=_load,
            modes=MODES,
            precisions=dict.fromkeys(MODES, PRECISIONS),
            devices=DEVICES,
            layouts=LAYOUTS,
            colour="#7b3fb5",
            distribution="jax",
        )
    ]
