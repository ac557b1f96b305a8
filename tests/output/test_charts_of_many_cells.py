"""A run of many groups draws no more panels than one can look at, and says how many it leaves out."""

from __future__ import annotations

from many_cells import recorded_run

from cnnbench.gates.evidence import read_evidence
from cnnbench.output.charts import MOST_PANELS, latency_bars
from cnnbench.output.palette import colours


def test_panels_are_limited_and_the_rest_is_counted(tmp_path):
    records = read_evidence(recorded_run(tmp_path, 80)).records
    groups = len({record.cell.group for record in records})
    figure = latency_bars(records, colours(record.cell for record in records))
    assert sum(axis.axison for axis in figure.axes) == MOST_PANELS < groups
    assert figure.get_supxlabel() == f"{groups - MOST_PANELS} more groups are in the table of results"
