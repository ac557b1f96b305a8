"""Oracles of these tests live in a folder of their own; each backend is loaded once."""

from __future__ import annotations

from functools import cache

import pytest

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import Backend, ProcessSettings


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNNBENCH_CACHE", str(tmp_path_factory.mktemp("oracle")))
        yield


@cache
def loaded(name: str) -> Backend:
    backend = load_backend(name)
    backend.configure(ProcessSettings(threads=2))
    return backend


@pytest.fixture
def load():
    """A backend by name, with the two threads that TensorFlow has in all tests; skips where there is no framework."""

    def get(name: str) -> Backend:
        if name != "numpy":
            pytest.importorskip(name, reason=f"needs {name}")
        return loaded(name)

    return get
