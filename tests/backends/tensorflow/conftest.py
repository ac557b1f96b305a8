"""One TensorFlow and one NumPy backend for all tests of this folder: importing TensorFlow takes seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend


@pytest.fixture(scope="session", autouse=True)
def tensorflow_backend() -> Backend:
    """Before any test of the folder calls TensorFlow, which takes its threads with the first call of a process."""
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    from cnnbench.execution.backends import load_backend
    from cnnbench.execution.contract import ProcessSettings

    backend = load_backend("tensorflow")
    backend.configure(ProcessSettings(threads=2))
    return backend


@pytest.fixture(scope="session")
def keras(tensorflow_backend: Backend) -> Any:
    """Keras, after TensorFlow has its threads."""
    return pytest.importorskip("keras", reason="needs keras")
