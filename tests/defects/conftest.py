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
    """A backend by name, in two threads; skips where its framework is missing."""

    def get(name: str) -> Backend:
        pytest.importorskip(name, reason=f"needs {name}")
        return loaded(name)

    return get


@pytest.fixture
def tf(load):
    """TensorFlow itself, with the threads of the backend: a process sets them once, before its first operation."""
    load("tensorflow")
    return pytest.importorskip("tensorflow")
