"""A run of many networks as a page for readers who were not there: one row a network, one column a backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cnnbench.errors import CnnbenchError
from cnnbench.gates.evidence import Evidence, read_evidence
from cnnbench.harness.run.record import Record
from cnnbench.harness.run.store import write_atomically
from cnnbench.harness.suite.cell import Cell
from cnnbench.output import figures
from cnnbench.output.drawing import svg
from cnnbench.output.labels import label, network_label
from cnnbench.output.network_dots import Dot, dots
from cnnbench.output.palette import colours
from cnnbench.output.report import RunReport, gather
from cnnbench.output.table import Column, Entry, ReportTable
from cnnbench.output.tables import BAD, FORWARD, budget_used, checks_by_program
from cnnbench.output.text import escape_markdown, to_markdown

PRODUCT = "matrix_product_gflop_per_s"
Value = Callable[[Record], Dot | None]


def publish(folder: Path, target: Path) -> dict[str, Path]:
    """Writes ``SUITE.md`` and its charts ``SUITE-*.svg`` into ``target``, by name.

    Args:
        folder: The run's.
        target: Made where it is not there.

    Raises:
        SuiteError: There is no run. DataError: a file of it is damaged.
    """
    page = _Page(read_evidence(folder))
    target.mkdir(parents=True, exist_ok=True)
    charts = {f"{page.run.suite}-{name}.svg": text for name, text in page.charts().items()}
    contents = {**charts, f"{page.run.suite}.md": "\n".join(page.parts()).rstrip() + "\n"}
    for name, text in contents.items():
        write_atomically(target / name, text)
    return {name: target / name for name in contents}


class _Page:
    """The page of one run."""

    def __init__(self, run: Evidence) -> None:
        self.run = run
        self._report: RunReport = gather(run)
        self._checks = checks_by_program(run.records)
        self._groups: dict[str, dict[str, Record]] = {}
        for record in run.records:
            self._groups.setdefault(record.cell.group, {})[label(record.cell)] = record
        self._labels = list(dict.fromkeys(label(record.cell) for record in run.records))
        self._facts = {group: _facts(_any(members).cell) for group, members in self._groups.items()}
        self._varying: dict[str, set[str]] = {}
        first: dict[str, Cell] = {}
        for record in run.records:
            name = network_label(record.cell)
            other = first.setdefault(name, record.cell)
            differing = {axis for axis in AXES if getattr(record.cell, axis) != getattr(other, axis)}
            self._varying.setdefault(name, set()).update(differing)

    def parts(self) -> Iterator[str]:
        """The page in Markdown."""
        run = self.run
        yield f"# {escape_markdown(run.suite)}\n"
        yield f"{escape_markdown(str(run.settings.get('description', '')))}\n"
        yield (
            f"Run `{run.run_id}` of the suite `{run.suite}`, started {self._report.started}; "
            "written by `cnnbench report --publish`. Charts have the networks in the order of their "
            "multiply-accumulates.\n"
        )
        yield " · ".join(f"**{tile.value}** {escape_markdown(tile.label)}" for tile in self._report.tiles) + "\n"
        yield from _section("The backends side by side", to_markdown(self._summary()))
        for name, title, _, text, value, shown in self._figures():
            table = self._wide(value, shown)
            yield from _section(title, f"{text}\n\n![{title}]({run.suite}-{name}.svg)\n\n{to_markdown(table)}")
        yield from _section("Networks", to_markdown(self._networks()))
        yield from _section(
            "Environment", "\n".join(f"* {n}: {escape_markdown(v)}" for n, v in self._report.environment if _told(n))
        )
        if self._report.notes:
            yield from _section("Notes", "\n".join(f"* {escape_markdown(note)}" for note in self._report.notes))

    def charts(self) -> dict[str, str]:
        """SVG by name: for each figure a dot for every network and backend, networks by their multiply-accumulates."""
        found = {}
        order = sorted(self._groups, key=lambda group: self._facts[group][1])
        tints = colours(record.cell for record in self.run.records)
        for name, _, axis, _, value, _ in self._figures():
            series = {
                shown: (
                    tints[next(m[shown].cell.series for m in self._groups.values() if shown in m)],
                    [value(self._groups[group][shown]) if shown in self._groups[group] else None for group in order],
                )
                for shown in self._labels
            }
            rows = [self._row(group) for group in order]
            found[name] = svg(name, lambda r=rows, s=series, t=axis, n=name: dots(r, s, t, percent=n in PERCENT))  # type: ignore[misc]
        return found

    def _figures(self) -> Iterator[tuple[str, str, str, str, Value, Callable[[Record], str]]]:
        """Name, heading, axis, explanation, figure of the chart, text of the table."""
        yield (
            "latency", "Latency", "latency [ms]",
            "The median of one batch in the steady state with its 95 % interval.",
            _latency_ms, lambda record: figures.seconds_interval(record.latency.median_s if record.latency else None),
        )  # fmt: skip
        yield (
            "memory", "Peak memory", "peak memory [MiB]",
            "Above what the same fresh worker held before the network; weights included.",
            _memory_mib, lambda record: figures.size(_peak(record)),
        )  # fmt: skip
        if self.run.yardsticks.get(PRODUCT):
            yield (
                "speed", "Share of the machine's matrix product", "share of the machine's matrix product",
                "Two operations for each multiply-accumulate of the network, over the latency, as a share of "
                f"{figures.significant(self.run.yardsticks[PRODUCT])} GFLOP/s: NumPy's float32 product of two "
                "1024 x 1024 matrices in the same run. An algorithm that needs fewer operations than the definition of "
                "a convolution may pass 100 %.",
                self._share, lambda record: figures.percent(_value(self._share(record))),
            )  # fmt: skip
        yield (
            "budget", "Error budget used", "error budget used",
            "The largest share of the derived error budget in the forward checks; above 100 % a check fails.",
            self._used, lambda record: figures.percent(_value(self._used(record))),
        )  # fmt: skip
        yield (
            "compile", "Trace and compile", "trace and compile [s]",
            "From the built program to its first result, less one steady call.",
            _compile_s, lambda record: figures.seconds(record.phases.compile_s),
        )  # fmt: skip

    def _share(self, record: Record) -> Dot | None:
        speed, product = record.metrics.get("gmac_per_s"), self.run.yardsticks.get(PRODUCT)
        return Dot(2 * speed / product) if speed and product else None

    def _used(self, record: Record) -> Dot | None:
        used = budget_used(self._checks.get(record.cell.program_key, ()), FORWARD)
        return None if used is None else Dot(used)

    def _wide(self, value: Value, shown: Callable[[Record], str]) -> ReportTable:
        """One row a network; an entry without a figure says why."""
        columns = (Column("network", "left"), *(Column(name) for name in self._labels))
        rows = []
        for group, members in self._groups.items():
            entries = [_entry(members.get(name), value, shown) for name in self._labels]
            rows.append((Entry(self._row(group)), *entries))
        return ReportTable("", columns, tuple(rows))

    def _row(self, group: str) -> str:
        cell = _any(self._groups[group]).cell
        name = network_label(cell)
        varying = (AXES[axis](getattr(cell, axis)) for axis in AXES if axis in self._varying[name])
        return ", ".join([name, *varying])

    def _networks(self) -> ReportTable:
        columns = (Column("network", "left"), Column("image", "left"), Column("parameters"), Column("MACs"))
        rows = []
        for group, (parameters, macs) in self._facts.items():
            cell = _any(self._groups[group]).cell
            image = "×".join(map(str, cell.image or ()))
            known = (f"{parameters:,}", f"{macs:,}") if parameters else (figures.NOTHING, figures.NOTHING)
            rows.append((Entry(self._row(group)), Entry(image), *(Entry(text) for text in known)))
        return ReportTable("", columns, tuple(rows))

    def _summary(self) -> ReportTable:
        """Each backend over the groups in which all of them were timed."""
        timed = [m for m in self._groups.values() if len(m) == len(self._labels) and all(r.latency for r in m.values())]
        rows = []
        for name in self._labels:
            mine = [members[name] for members in self._groups.values() if name in members]
            logs, wins = [], 0
            for members in timed:
                values = {shown: _median(record) for shown, record in members.items()}
                best = min(values.values())
                logs.append(math.log(values[name] / best))
                wins += values[name] == best
            ratio = f"{math.exp(sum(logs) / len(logs)):.2f}×" if logs else figures.NOTHING
            used = [dot.value for record in mine if (dot := self._used(record))]
            bad = sum(record.status in BAD for record in mine)
            rows.append(
                (
                    Entry(name, series=mine[0].cell.series),
                    Entry(f"{sum(record.status == 'ok' for record in mine)} / {len(mine)}", "bad" if bad else ""),
                    Entry(f"{wins} of {len(timed)}"),
                    Entry(ratio),
                    Entry(figures.percent(max(used, default=None))),
                )
            )
        columns = (
            Column("backend", "left"),
            Column("networks that ended well"),
            Column("fastest on"),
            Column("latency / fastest, geometric mean"),
            Column("largest use of an error budget"),
        )
        return ReportTable("", columns, tuple(rows))


PERCENT = frozenset({"speed", "budget"})
# What tells rows of one network apart, and how it is written.
AXES: dict[str, Callable[[Any], str]] = {
    "image": lambda image: "×".join(map(str, image)),
    "batch": lambda batch: f"batch {batch}",
    "precision": str,
    "threads": lambda threads: "all threads" if threads is None else f"{threads} threads",
    "device": str,
    "data": str,
}
# Of the environment: what the figures depend on, and nothing that says whose machine it was.
TOLD = frozenset(
    {"cores", "cpu model", "distribution", "governor", "libc", "machine", "memory gib", "processor quota", "python",
     "python implementation", "system", "transparent huge pages", "virtualisation"}
)  # fmt: skip


def _told(name: str) -> bool:
    return name in TOLD or name.startswith(("packages.", "yardsticks."))


def _section(title: str, text: str) -> Iterator[str]:
    yield f"## {title}\n\n{text.rstrip()}\n"


def _any(members: Mapping[str, Record]) -> Record:
    return next(iter(members.values()))


def _facts(cell: Cell) -> tuple[int, int]:
    """Parameters and multiply-accumulates of one image; (0, 0) of a network that cannot be built here any more."""
    from cnnbench.harness.suite.networks import network
    from cnnbench.spec.summary import summarize

    try:
        summary = summarize(network(cell.architecture, cell.image, cell.num_classes))
    except (CnnbenchError, OSError):
        return 0, 0
    return summary.parameters, summary.macs


def _entry(record: Record | None, value: Value, shown: Callable[[Record], str]) -> Entry:
    if record is None:
        return Entry("not in the suite", "muted")
    if value(record) is not None:
        return Entry(shown(record))
    reason = record.reason or "not measured"
    return Entry(reason if record.status == "ok" else f"{record.status.replace('_', ' ')}: {reason}", "muted")


def _latency_ms(record: Record) -> Dot | None:
    if record.latency is None:
        return None
    median = record.latency.median_s
    return Dot(1e3 * median.value, 1e3 * median.low, 1e3 * median.high)


def _peak(record: Record) -> int | None:
    return None if record.memory is None else record.memory.device_peak_bytes or record.memory.peak_bytes


def _memory_mib(record: Record) -> Dot | None:
    peak = _peak(record)
    return None if peak is None else Dot(peak / 2**20)


def _compile_s(record: Record) -> Dot | None:
    return None if record.phases.compile_s is None else Dot(record.phases.compile_s)


def _value(dot: Dot | None) -> float | None:
    return None if dot is None else dot.value


def _median(record: Record) -> float:
    assert record.latency is not None
    return record.latency.median_s.value
