"""Backends that tests run in their own process, all with the same settings."""

from __future__ import annotations

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import Backend, ProcessSettings


def loaded_backend(name: str) -> Backend:
    """A new instance; TensorFlow with two threads, which it takes once a process, so that all tests have to agree."""
    backend = load_backend(name)
    if name == "tensorflow":
        backend.configure(ProcessSettings(threads=2))
    return backend
