"""Tables: the right figures in the right row, whatever stands in the names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_run import make_cell, synthetic_run

from cnnbench.gates.baselines import snapshot
from cnnbench.gates.verdicts import gate
from cnnbench.harness.run.record import Interval, Record
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.output import figures
from cnnbench.output.palette import colours, lighter
from cnnbench.output.table import Column, Entry, ReportTable
from cnnbench.output.tables import phases_table, problems_table, result_table, skips_table
from cnnbench.output.text import displayed, escape_markdown, folded, printable, to_markdown, to_text
from cnnbench.output.verdict_tables import headline, split_verdicts, verdict_table


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1234.5, "1234"), (12.34, "12.3"), (9.999, "10.00"), (0.00123, "0.00123"), (123456, "123,456"),
     (1e-9, "1.00e-09"), (float("inf"), "inf")],
)  # fmt: skip
def test_significant_digits(value: float, text: str) -> None:
    assert figures.significant(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(2.5, "2.50 s"), (0.0125, "12.5 ms"), (42e-6, "42.0 µs"), (3e-10, "0.300 ns"), (None, "–")]
)
def test_seconds_choose_their_unit(value: float | None, text: str) -> None:
    assert figures.seconds(value) == text


def test_an_interval_keeps_the_estimates_unit_and_leaves_out_bounds_that_could_not_be_had() -> None:
    assert figures.seconds_interval(Interval(value=0.9, low=0.8, high=1.1)) == "900 ms [800, 1100]"
    assert figures.seconds_interval(Interval(value=0.9, low=0.9, high=0.9, confidence=0)) == "900 ms"


def test_sizes_percentages_and_changes() -> None:
    assert figures.size(180_000_000) == "172 MiB"
    assert figures.size(512) == "512 B"
    assert [figures.percent(v) for v in (0.1234, 1.5, 0.0, 0.0001, None)] == ["12.3 %", "150 %", "0.0 %", "<0.1 %", "–"]
    assert figures.change(Interval(value=1.1, low=0.99, high=1.21), "ratio") == "+10.0 % [-1.0, +21.0]"
    assert figures.change(Interval(value=-0.02, low=-0.03, high=-0.01), "difference") == "-2.0 pp [-3.0, -1.0]"


def row_of(table: ReportTable, **wanted: str) -> dict[str, str]:
    names = [column.name for column in table.columns]
    for row in table.rows:
        values = dict(zip(names, (entry.text for entry in row), strict=True))
        if all(values[name] == text for name, text in wanted.items()):
            return values
    raise AssertionError(wanted)


def test_the_result_table_has_a_row_for_each_cell_with_its_figures() -> None:
    run = synthetic_run(seed=1)
    table = result_table(run.records)
    row = row_of(table, network="resnet50", batch="8", backend="torch eager")
    record = next(r for r in run.records if r.cell.id == "resnet50-torch-eager-b8")

    assert len(table.rows) == len(run.records)
    assert record.latency
    assert row["median latency"] == figures.seconds_interval(record.latency.median_s)
    assert row["images/s"] == figures.significant(8 / record.latency.median_s.value)
    assert row["peak memory"] == "172 MiB"
    assert row["compile"] == "800 ms"
    assert row["status"] == "ok"
    assert row_of(table, network="resnet20", backend="jax jit")["accuracy"] == "96.9 %"
    assert "image" not in row  # every network has one image shape: no column for it
    assert "precision" not in row


def test_a_backend_that_does_not_compile_has_no_seconds_of_it_and_caches_are_told() -> None:
    record = synthetic_run(seed=1).records[0]
    assert record.phases.compile_s
    none = record.model_copy(update={"phases": record.phases.model_copy(update={"compile_s": 0.0})})
    for table in (result_table([none]), phases_table([none])):
        (row,) = (dict(zip((c.name for c in table.columns), (e.text for e in row), strict=True)) for row in table.rows)
        assert row["compile"] == figures.NOTHING
        (column,) = (column for column in table.columns if column.name == "compile")
        assert "keeps its code on disk" in column.help


def test_a_check_counts_for_every_batch_of_its_program() -> None:
    """Checks run once a program; the table shows their use of the budget in every row of it."""
    records = [
        record if record.cell.batch == 1 else record.model_copy(update={"checks": ()})
        for record in synthetic_run(seed=1).records
    ]
    table = result_table(records)

    small = row_of(table, network="resnet50", batch="1", backend="jax jit")
    large = row_of(table, network="resnet50", batch="8", backend="jax jit")
    assert small["error budget"] == large["error budget"] != "–"


def failing() -> list[Record]:
    run = synthetic_run(seed=1)
    records = list(run.records)
    check = CheckOutcome(
        name="local", status="failed", budget_used=40.0, node="layer1.0.bn1", message="first error at layer1.0.bn1",
        reproducer="reproduce.npz",
    )  # fmt: skip
    records[0] = records[0].model_copy(update={"status": "mismatch", "checks": (check,)})
    records[1] = records[1].model_copy(update={"status": "crashed", "reason": "signal 9", "latency": None})
    records[2] = records[2].model_copy(update={"status": "skipped", "reason": "jax is not installed"})
    return records


def test_problems_name_node_and_reproducer_and_skips_their_reason() -> None:
    problems = problems_table(failing())
    skips = skips_table(failing())

    assert [[entry.text for entry in row] for row in problems.rows] == [
        ["resnet18-numpy-fast-b1", "local", "layer1.0.bn1", "first error at layer1.0.bn1\nreproduce: reproduce.npz"],
        ["resnet18-torch-eager-b1", "crashed", "–", "signal 9"],
    ]
    assert [row[2].text for row in skips.rows] == ["jax is not installed"]
    row = row_of(result_table(failing()), network="resnet18", batch="1", backend="numpy fast")
    assert row["error budget"] == "40 times (local failed)"


NASTY = "<script>alert(1)</script>|`x`*b*[a](http://evil)\x1b[31m\n# h"


def test_markdown_entries_stay_text() -> None:
    markdown = to_markdown(ReportTable("t", (Column("a"), Column("b")), ((Entry(NASTY), Entry("2")),)))
    row = markdown.splitlines()[2]

    assert len(markdown.splitlines()) == 3
    assert "<script>" not in row
    assert "\x1b" not in row
    assert "a\\](http" in row
    assert row.replace("\\|", "").count("|") == 3
    assert escape_markdown("end_to_end [1, 2]") == "end_to_end [1, 2]"


def test_plain_text_is_aligned_and_complete() -> None:
    text = to_text(
        ReportTable(
            "",
            (Column("name", "left"), Column("value")),
            ((Entry("a"), Entry("1")), (Entry("bb"), Entry("100"))),
        )
    )

    assert text == "name  value\n----  -----\na         1\nbb      100\n"
    assert printable("a\x1b[31mb\tc\n") == "a\N{REPLACEMENT CHARACTER}[31mb\tc\n"


WIDE = ReportTable(
    "Verdicts",
    (Column("cell", "left"), Column("verdict", "left"), Column("reason", "left", prose=True), Column("change")),
    (
        (
            Entry("resnet18-torch-eager-b1"),
            Entry("unchanged", "muted"),
            Entry("the interval holds zero " * 4),
            Entry("+1.2 % [-0.4, +2.8]"),
        ),
        (Entry("\u7db2-b1"), Entry("regressed", "bad"), Entry(""), Entry("+40.0 % [38.0, 42.0]")),
    ),
)


@pytest.mark.parametrize("width", [30, 40, 80, 100, 200])
def test_a_table_fits_the_terminal_and_keeps_its_words_whole(width: int) -> None:
    text = to_text(WIDE, width)

    assert max(displayed(line) for line in text.splitlines()) <= width
    for entry in ("unchanged", "regressed", "resnet18-torch-eager-b1", "\u7db2-b1", "+1.2 % [-0.4, +2.8]"):
        assert entry in text
    assert text.split().count("interval") == 4


def test_a_narrow_table_says_a_row_under_its_first_entry() -> None:
    assert to_text(WIDE, 45).splitlines()[-3:] == [
        "\u7db2-b1",
        "  verdict: regressed",
        "  change: +40.0 % [38.0, 42.0]",
    ]


texts = st.text(st.sampled_from("ab \u7db2\u0301-é"), max_size=60)


@given(st.data(), st.integers(20, 120), st.integers(1, 6))
def test_nothing_of_a_table_is_lost_at_any_width(data: st.DataObject, width: int, columns: int) -> None:
    heads = tuple(
        Column(f"c{i}", data.draw(st.sampled_from(["left", "right"])), prose=data.draw(st.booleans()))
        for i in range(columns)
    )
    rows = data.draw(st.lists(st.tuples(*(texts.map(Entry) for _ in heads)), min_size=1, max_size=3))
    text = to_text(ReportTable("", heads, tuple(rows)), width)

    assert max(displayed(line) for line in text.splitlines()) <= width
    for letter in "ab\u7db2\u0301é":
        assert text.count(letter) >= sum(entry.text.count(letter) for row in rows for entry in row)


def test_a_wide_letter_that_makes_up_for_a_combining_one_is_still_wide() -> None:
    for width in range(2, 8):
        lines = folded("\u7db2\u7db2 aa\u0301a\u0301", width)
        assert max(map(displayed, lines)) <= width
        assert "".join(lines) == "\u7db2\u7db2 aa\u0301a\u0301"


def test_tones_are_colours_where_they_are_shown_and_change_no_column() -> None:
    plain, coloured = to_text(WIDE, 80), to_text(WIDE, 80, colours=True)

    assert "\x1b[1;31mregressed" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_a_backends_modes_share_its_hue() -> None:
    cells = [
        make_cell("resnet18", "torch", 1),
        make_cell("resnet18", "torch", 1, mode="compile"),
        make_cell("resnet18", "jax", 1),
    ]
    found = colours(cells)

    assert list(found) == ["torch eager", "torch compile", "jax jit"]
    assert found["torch compile"] == lighter(found["torch eager"], 0.45)
    assert len(set(found.values())) == 3


def test_verdicts_stand_worst_first_with_their_noise_and_power() -> None:
    base, head = (snapshot(synthetic_run(seed=seed, slowdown=slow)) for seed, slow in ((1, {}), (2, {"torch": 1.4})))
    result = gate(head, base)
    table = verdict_table(result)
    worst, calm = split_verdicts(result)

    assert [column.name for column in table.columns][-5:] == [
        "change [interval]", "tolerated", "noise", "detectable", "false alarms"
    ]  # fmt: skip
    assert table.rows[0][2].text == "regressed"
    assert len(worst.rows) + len(calm.rows) == len(table.rows) == len(result.verdicts)
    assert "fails: a regression was found" in headline(result)
