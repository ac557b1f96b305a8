"""The JAX backend on the host, and the NumPy reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend


@pytest.fixture(scope="session")
def jax_backend() -> Backend:
    pytest.importorskip("jax", reason="JAX is not installed")
    from cnnbench_jax.backend import JaxBackend

    from cnnbench.execution.contract import ProcessSettings

    backend = JaxBackend()
    backend.configure(ProcessSettings())
    return backend
