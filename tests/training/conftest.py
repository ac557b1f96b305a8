"""The NumPy backend and small digits for all training tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend


@pytest.fixture(scope="session")
def numpy_backend() -> Backend:
    from cnnbench.execution.backends import load_backend
    from cnnbench.execution.contract import ProcessSettings

    backend = load_backend("numpy")
    backend.configure(ProcessSettings(threads=2))
    return backend
