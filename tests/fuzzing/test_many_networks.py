"""Many random networks on each backend and mode that is here, in processes of their own: what is found is new."""

from __future__ import annotations

import sys

import pytest

from cnnbench.execution.backends import backend_plugins
from cnnbench.face.fuzzing import REFERENCE, fuzz

MINUTES = 6
SERIES = [
    pytest.param(f"{plugin.name}:{mode}", marks=[] if plugin.name == "numpy" else [getattr(pytest.mark, plugin.name)])
    for plugin in backend_plugins().values()
    if plugin.name in ("numpy", "torch", "jax", "tensorflow")
    for mode in plugin.modes
    if mode != REFERENCE
]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")
@pytest.mark.parametrize("name", SERIES)
def test_no_network_exceeds_its_budgets(name, tmp_path):
    plugin = backend_plugins()[name.partition(":")[0]]
    if (reason := plugin.unavailable()) is not None:
        pytest.skip(reason)
    result = fuzz([name], minutes=MINUTES, seed=2026, folder=tmp_path)
    assert [item.text() for item in result.new] == []
    assert result.networks > 0
