"""A worker that has its backend: what was imported costs no later collection of garbage anything."""

from __future__ import annotations

import gc

from cnnbench.execution.contract import ProcessSettings
from cnnbench.harness.worker.handlers.setup import load
from cnnbench.harness.worker.handlers.state import WorkerState
from cnnbench.harness.worker.protocol.setup import LoadRequest


def test_what_a_backend_imports_is_left_out_of_later_collections():
    try:
        load(LoadRequest(backend="numpy", settings=ProcessSettings()), WorkerState())
        assert gc.get_freeze_count() > 10_000
        assert len(gc.get_objects()) < gc.get_freeze_count() / 10
    finally:
        gc.unfreeze()
