"""What gates and reports read of a run's folder."""

from __future__ import annotations

from many_cells import recorded_run

from cnnbench.gates.evidence import read_evidence


def test_planned_cells_without_a_record_are_named(tmp_path):
    folder = recorded_run(tmp_path, 20)
    whole = read_evidence(folder)
    assert whole.unrecorded == ()
    lost, damaged = (record.cell for record in whole.records[:2])
    (folder / "cells" / lost.id / "record.json").unlink()
    (folder / "cells" / damaged.id / "record.json").write_text("{")
    found = read_evidence(folder)
    assert found.unrecorded == (lost, damaged)
    assert found.records == whole.records[2:]
