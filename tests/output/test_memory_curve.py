"""Memory by batch size: the line, what is off it, and which cells make a curve."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_run import Truth, synthetic_run, write_run

from cnnbench.harness.passes.findings import Memory
from cnnbench.harness.run.record import Record
from cnnbench.output.memory_curve import memory_curve_table, memory_curves
from cnnbench.output.reports import read_report, write_reports

MIB = 2**20


def weighed(peaks: dict[int, int], batches: tuple[int, ...] = (1, 8, 32)) -> list[Record]:
    """The records of a run with these peaks by batch size, in MiB, on every backend."""
    run = synthetic_run(Truth(seed=1, batches=batches))
    records = [record for record in run.records if record.latency]
    return [record.model_copy(update={"memory": memory(peaks.get(record.cell.batch))}) for record in records]


def memory(mib: int | None) -> Memory | None:
    return None if mib is None else Memory(peak_bytes=mib * MIB, total_peak_bytes=mib * MIB, null_bytes=0)


def test_a_straight_line_is_found_again() -> None:
    for curve in memory_curves(weighed({1: 105, 8: 140, 32: 260})):
        fixed, per_image = curve.line
        assert fixed == pytest.approx(100 * MIB)
        assert per_image == pytest.approx(5 * MIB)
        assert curve.bend == pytest.approx(0, abs=1e-9)


def test_what_is_off_the_line_is_told() -> None:
    table = memory_curve_table(weighed({1: 105, 8: 300, 32: 260}))
    assert table is not None
    (off,) = {row[-1].text for row in table.rows}
    assert float(off.split()[0]) > 30


def test_two_points_say_nothing_of_a_bend() -> None:
    table = memory_curve_table(weighed({1: 105, 8: 140}))
    assert table is not None
    assert {row[-1].text for row in table.rows} == {"–"}
    assert {row[3].text for row in table.rows} == {"100 MiB"}
    assert {row[4].text for row in table.rows} == {"5.00 MiB"}
    assert {row[2].text for row in table.rows} == {"1: 105 MiB, 8: 140 MiB"}


def test_one_batch_size_makes_no_curve(tmp_path: Path) -> None:
    assert memory_curve_table(weighed({8: 140})) is None
    folder = write_run(synthetic_run(Truth(seed=1, batches=(8,))), tmp_path)
    assert "Memory by batch size" not in write_reports(folder)["report.html"].read_text()


def test_every_program_has_its_own_curve_in_the_report(tmp_path: Path) -> None:
    run = synthetic_run(Truth(seed=1, batches=(1, 8, 32)))
    folder = write_run(run, tmp_path)
    page = write_reports(folder)["report.html"].read_text()
    assert '<section id="memory">' in page
    table = next(table for table in read_report(folder).tables if table.title == "Peak memory by batch size")
    programs = {(record.cell.architecture, record.cell.series) for record in run.records if record.memory}
    assert len(table.rows) == len(programs) == 8
