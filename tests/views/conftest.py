"""What the tests of views share: a small network and images."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_network import ByHand, tiny

from cnnbench.face.networks import Model


@pytest.fixture(scope="session")
def model() -> Model:
    return tiny()


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(2, 2, 9, 8)).astype(np.float32)


@pytest.fixture
def by_hand(model: Model) -> ByHand:
    return ByHand(model, pytest.importorskip("torch"))
