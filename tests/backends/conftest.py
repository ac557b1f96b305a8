"""What all backends are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend


@pytest.fixture(scope="session")
def oracle() -> Backend:
    from cnnbench_numpy.backend import NumpyBackend

    return NumpyBackend()
