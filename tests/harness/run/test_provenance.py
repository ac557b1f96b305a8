"""Records and plans that were made from something else than what is there today are told apart."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_suite import small_suite

from cnnbench.errors import DataError
from cnnbench.harness.run.provenance import changed_since, check_records
from cnnbench.harness.run.record import Record
from cnnbench.harness.run.rerun import Rerun
from cnnbench.harness.suite.plan import as_it_is_now, plan

PLAN = plan(small_suite("s", matrix={"batch": [1, 2]}))
CELL = PLAN.cells[0]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({}, []),
        ({"id": "other", "group": "other", "network": "other", "architecture": "renamed", "skip": "why"}, []),
        ({"graph_digest": "edited"}, ["network", "program"]),
        ({"seed": 3}, ["network", "program"]),
        ({"mode": "reference"}, ["program"]),
        ({"side": "base"}, ["program"]),
        ({"batch": 8}, ["batch"]),
        ({"checks": ("local",)}, ["checks"]),
        ({"measure": ()}, ["measurements"]),
        ({"train": True}, ["training"]),
    ],
)
def test_what_makes_a_record_no_record_of_a_cell(change: dict[str, Any], what: list[str]) -> None:
    assert changed_since(CELL.model_copy(update=change), CELL) == what


def test_records_of_other_cells_are_refused() -> None:
    record = Record(cell=CELL, status="ok", started_utc="", finished_utc="")
    check_records(PLAN.cells, {CELL.id: record})
    other = record.model_copy(update={"cell": CELL.model_copy(update={"graph_digest": "edited"})})
    with pytest.raises(DataError, match="not of its plan's cell") as caught:
        check_records(PLAN.cells, {CELL.id: other})
    assert (caught.value.where, caught.value.received) == (CELL.id, "another network")


def test_a_bundle_of_a_version_whose_networks_were_others_can_still_be_run_again() -> None:
    """Its claims are then graded by the digests of its records, which differ."""
    old = CELL.model_copy(update={"graph_digest": "of another version"})
    bundled: Any = SimpleNamespace(plan=PLAN.model_copy(update={"cells": (old,)}))
    (cell,) = Rerun().plan(bundled).cells
    assert cell.graph_digest == CELL.graph_digest
    assert (cell.id, cell.key, cell.skip) == (CELL.id, CELL.key, None)


def test_a_cell_whose_file_is_gone_stays_as_it_was(tmp_path: Path) -> None:
    cell = CELL.model_copy(update={"architecture": f"file:{tmp_path}/gone.yaml"})
    assert as_it_is_now(cell) == cell
