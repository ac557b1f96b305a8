"""Many cells: planned and reported in processor time that is a generous multiple of what was measured."""

from __future__ import annotations

import json

import pytest
from many_cells import measured, recorded_run, suite_of

pytestmark = pytest.mark.alone


def test_ten_thousand_cells_are_planned(tmp_path):
    (tmp_path / "suite.yaml").write_text(json.dumps(suite_of(10_000)))
    used = measured(tmp_path, "plan", "suite.yaml")
    assert "10000 cells" in used.output
    assert used.processor_s < 6
    assert 2**24 < used.peak_bytes < 300 * 2**20


@pytest.mark.slow
def test_a_thousand_cells_are_reported(tmp_path):
    run = recorded_run(tmp_path / "runs", 1000)
    used = measured(tmp_path, "report", str(run))
    assert (run / "report.html").exists()
    assert used.processor_s < 60
