"""Reasons to doubt the latencies stand above the results, wherever these are shown; the intervals' width below."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic_run import synthetic_run

from cnnbench.cli.terminal import show_results
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.output.cautions import cautions, precision
from cnnbench.output.html import render_html
from cnnbench.output.markdown import render_markdown
from cnnbench.output.recorders.mlflow_layout import note, plan_runs
from cnnbench.output.report import gather

BUSY = "other processes used up to 82% of the machine while 2 of 16 cells were timed: their latencies say little"


@pytest.fixture(scope="module")
def run():
    return synthetic_run(seed=1)


@pytest.fixture(scope="module")
def busy(run):
    """The same run on a machine that was not alone for two of its cells, with a note that says so."""
    records = tuple(
        record.model_copy(update={"observed": record.observed.model_copy(update={"foreign_fraction": share})})
        for record, share in zip(run.records, (0.82, 0.3, *[0.01] * (len(run.records) - 2)), strict=True)
    )
    return replace(run, records=records, notes=("another note", BUSY))


def with_latency(record, **changes):
    return record.model_copy(update={"latency": record.latency.model_copy(update=changes)})


def test_a_quiet_run_of_several_launches_has_nothing_to_doubt(run):
    assert cautions(run.records) == ()
    assert "Caution" not in render_markdown(gather(run))


def test_what_a_backend_declares_is_marked_in_the_table_and_said_above_it(run):
    """In every cell of the program, whichever of them ran its checks."""
    first = run.records[0]
    met = CheckOutcome(name="special", status="passed", details={"declared": {"relu": "it loses NaN"}})
    records = (first.model_copy(update={"checks": (*first.checks, met)}), *run.records[1:])
    same = [record for record in records if record.cell.program_key == first.cell.program_key]
    text = render_markdown(gather(replace(run, records=records)))
    said = f"{len(same)} of {len(records)} cells, marked †, may lose NaN, infinities or denormals"
    assert 0 < text.index(said) < text.index("## Results")
    assert "as their backends declare of relu" in text
    assert text.count("ok †") == len(same)


def test_a_busy_machine_stands_above_the_table_and_not_among_the_notes(busy, capsys):
    report = gather(busy)
    assert report.notes == ("another note",)
    text = render_markdown(report)
    assert 0 < text.index(BUSY.partition(" of the machine")[0]) < text.index("## Results")
    assert text.count("say little") == 1
    page = render_html(report)
    assert page.index("say little") < page.index('class="tiles"') < page.index('id="results"')
    assert page.count("say little") == 1
    in_mlflow = note(busy)
    assert in_mlflow.index("say little") < in_mlflow.index("| network |")
    show_results(report)
    shown = capsys.readouterr().out
    assert shown.startswith(f"caution: {BUSY}\n")
    assert shown.rstrip().endswith(report.precision)


def test_one_launch_and_an_unsteady_start_are_said(run):
    first, second, *rest = [record for record in run.records if record.latency]
    changed = [with_latency(first, launches=1), with_latency(second, steady=False), *rest]
    one, unsteady = cautions(changed)
    assert one.startswith(f"1 of {len(changed)} cells were timed in one launch: ")
    assert unsteady.startswith(f"1 of {len(changed)} cells, marked *, ")


@pytest.mark.parametrize(("widest", "said"), [(0.5, "within ±50.0 %"), (1e5, "within a factor of 1e+05")])
def test_the_width_is_that_of_the_middle_cell_and_of_the_widest(run, widest, said):
    records = []
    for record, half in zip([record for record in run.records if record.latency], (0.01, 0.04, widest), strict=False):
        median = record.latency.median_s
        ends = {"low": median.value / (1 + half), "high": median.value * (1 + half), "confidence": 0.95}
        records.append(with_latency(record, median_s=median.model_copy(update=ends)))
    text = f"half of them within ±4.0 %, all {said}"
    assert precision(records) == f"intervals of the median latencies within this run: {text}"
    widened = [with_latency(records[0], covers="runs"), *records[1:]]
    where = f" (1 of {len(records)} with what earlier runs show)"
    assert precision(widened) == f"intervals of the median latencies{where}: {text}"
    nothing = [with_latency(r, median_s=r.latency.median_s.model_copy(update={"confidence": 0.0})) for r in records]
    assert precision(nothing) == precision([]) == ""


def test_mlflow_has_the_ends_of_the_interval_beside_the_median_in_four_digits(run):
    points = [child for child in plan_runs(run, {}).children if child.kind == "point"]
    timed = [record for record in run.records if record.latency]
    for child, record in zip(points, timed, strict=False):
        logged = {point.key: point.value for point in child.points}
        median = record.latency.median_s
        for key, value in (("p50_ms", median.value), ("p50_low_ms", median.low), ("p50_high_ms", median.high)):
            assert logged[key] == pytest.approx(value * 1e3, rel=6e-4)
        assert next(iter(logged)) == "p50_ms"
        for value in logged.values():
            assert value == float(f"{value:.3e}")
    parent = plan_runs(run, {}).parent
    assert parent.points
    assert all(point.value == float(f"{point.value:.3e}") for point in parent.points)
    nothing = with_latency(timed[0], median_s=timed[0].latency.median_s.model_copy(update={"confidence": 0.0}))
    logged = {point.key for point in plan_runs(replace(run, records=(nothing,)), {}).children[0].points}
    assert "p50_ms" in logged
    assert not {"p50_low_ms", "p50_high_ms"} & logged
