"""Break-even against the running totals, batch by batch."""

from __future__ import annotations

import pytest
from synthetic_run import synthetic_run

from cnnbench.harness.passes.findings import Phases
from cnnbench.harness.run.record import Interval
from cnnbench.output.break_even import break_even, start_seconds
from cnnbench.output.timing_tables import break_even_table, controls_table


def timed(record, *, start, batch, compile_s=None, threads=1, within=0.0, confidence=0.95):
    interval = Interval(value=batch, low=batch - within, high=batch + within, confidence=confidence)
    first = batch + (compile_s or 0.0)
    phases = Phases(import_s=start, build_s=0.0, weights_s=0.0, compile_s=compile_s, first_call_s=first)
    latency = record.latency.model_copy(update={"median_s": interval})
    cell = record.cell.model_copy(update={"threads": threads})
    return record.model_copy(update={"phases": phases, "latency": latency, "cell": cell})


@pytest.fixture(scope="module")
def records():
    return [record for record in synthetic_run().records if record.latency is not None][:4]


def test_the_batch_count_is_where_the_running_totals_cross(records):
    quick = timed(records[0], start=1.0, batch=0.100)
    slow_start = timed(records[1], start=2.0, batch=0.030, compile_s=5.0)
    found = {item.record.cell.id: item for item in break_even([quick, slow_start])}
    item = found[slow_start.cell.id]
    assert item.first is quick
    assert item.start_s == pytest.approx(7.0)

    def total(start, batch, count):
        return start + count * batch

    assert total(7.0, 0.030, item.batches) < total(1.0, 0.100, item.batches)
    assert total(7.0, 0.030, item.batches - 1) >= total(1.0, 0.100, item.batches - 1)
    assert found[quick.cell.id].batches == 0


def test_what_starts_later_and_runs_slower_never_overtakes(records):
    found = break_even([timed(records[0], start=1.0, batch=0.1), timed(records[1], start=2.0, batch=0.1)])
    assert [item.batches for item in found] == [0, None]


@pytest.mark.parametrize(
    ("batch", "within", "confidence", "text"),
    [
        (0.09, 0.002, 0.95, "overtakes "),
        (0.11, 0.002, 0.95, "never overtakes "),
        (0.09, 0.006, 0.95, "undecided: its latency's interval overlaps that of "),
        (0.11, 0.006, 0.95, "undecided: its latency's interval overlaps that of "),
        (0.11, 0.0, 0.0, "undecided: its latency's interval overlaps that of "),
    ],
)
def test_who_overtakes_whom_is_said_only_where_the_intervals_lie_apart(records, batch, within, confidence, text):
    first = timed(records[0], start=1.0, batch=0.1, within=within, confidence=confidence)
    later = timed(records[1], start=2.0, batch=batch, within=within, confidence=confidence)
    table = break_even_table([first, later])
    assert [row[-1].text.startswith(text) for row in table.rows] == [False, True]


def test_groups_are_apart_and_a_lone_program_has_nobody_to_overtake(records):
    pair = [timed(records[0], start=1.0, batch=0.1), timed(records[1], start=2.0, batch=0.05)]
    assert len(break_even([*pair, timed(records[2], start=9.0, batch=0.01, threads=2)])) == 2


def test_a_compile_step_and_a_first_call_that_compiles_count_once(records):
    assert start_seconds(timed(records[0], start=1.0, batch=0.1, compile_s=4.0)) == pytest.approx(5.0)
    assert start_seconds(records[0].model_copy(update={"phases": Phases()})) is None


def test_the_table_says_who_overtakes_whom(records):
    table = break_even_table([timed(records[0], start=1.0, batch=0.1), timed(records[1], start=2.0, batch=0.05)])
    texts = [row[-1].text for row in table.rows]
    assert texts[0] == "starts first"
    assert texts[1].endswith("after 21 batches")
    assert controls_table(records) is None
