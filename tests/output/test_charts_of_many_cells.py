"""A run of many groups draws no more panels than one can look at, and says how many it leaves out."""

from __future__ import annotations

from many_cells import recorded_run

from cnnbench.gates.evidence import read_evidence
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.output.charts import MOST_PANELS, latency_bars, speed_against_error
from cnnbench.output.palette import colours


def test_panels_are_limited_and_the_rest_is_counted(tmp_path):
    records = read_evidence(recorded_run(tmp_path, 80)).records
    groups = len({record.cell.group for record in records})
    figure = latency_bars(records, colours(record.cell for record in records))
    assert sum(axis.axison for axis in figure.axes) == MOST_PANELS < groups
    assert figure.get_supxlabel() == f"{groups - MOST_PANELS} more groups are in the table of results"


def test_a_legend_is_no_longer_than_its_chart(tmp_path):
    check = CheckOutcome(name="local", status="passed", budget_used=0.4)
    records = [
        record.model_copy(update={"checks": (check,)}) for record in read_evidence(recorded_run(tmp_path, 80)).records
    ]
    kinds = {(record.cell.network_key, record.cell.batch) for record in records[:20]}
    few = records[:20]
    (axis,) = speed_against_error(few, colours(record.cell for record in few)).axes
    shown = [text.get_text() for text in axis.get_legend().get_texts()]
    assert len(kinds) <= MOST_PANELS
    assert len(set(shown)) == len(shown), "networks of one name are told apart"
    many = {(record.cell.network_key, record.cell.batch) for record in records}
    (axis,) = speed_against_error(records, colours(record.cell for record in records)).axes
    longer = [text.get_text() for text in axis.get_legend().get_texts()]
    assert longer[-1] == f"{len(many) - MOST_PANELS} more"
    assert len(longer) == len(shown) - len(kinds) + MOST_PANELS + 1
