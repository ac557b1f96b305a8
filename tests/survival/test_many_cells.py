"""Many cells: planned and reported in processor time that is a generous multiple of what was measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from many_cells import recorded_run, suite_of


def _used(folder, *arguments: str) -> tuple[float, int]:
    """Processor seconds and largest resident bytes of a command that ends well."""
    with (folder / "out").open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", "cnnbench", *arguments], cwd=folder, stdout=out, stderr=out)
        _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, (folder / "out").read_text()[-2000:]
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def test_ten_thousand_cells_are_planned(tmp_path):
    (tmp_path / "suite.yaml").write_text(json.dumps(suite_of(10_000)))
    seconds, peak_bytes = _used(tmp_path, "plan", "suite.yaml")
    assert "10000 cells" in (tmp_path / "out").read_text()
    assert seconds < 6
    assert peak_bytes < 300 * 2**20


@pytest.mark.slow
def test_a_thousand_cells_are_reported(tmp_path):
    run = recorded_run(tmp_path / "runs", 1000)
    seconds, _ = _used(tmp_path, "report", str(run))
    assert (run / "report.html").exists()
    assert seconds < 60
