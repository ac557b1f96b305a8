"""Oracles of these tests live in a folder of their own."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNNBENCH_CACHE", str(tmp_path_factory.mktemp("oracle")))
        yield
