"""The PyTorch backend on one thread, and the NumPy reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend


@pytest.fixture(scope="session")
def torch_backend() -> Backend:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from cnnbench_torch.backend import TorchBackend

    from cnnbench.execution.contract import ProcessSettings

    backend = TorchBackend()
    backend.configure(ProcessSettings(threads=1))
    return backend
