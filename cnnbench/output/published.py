"""A run of many networks as a page for readers who were not there: one row a network, one column a backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from cnnbench.errors import CnnbenchError
from cnnbench.gates.evidence import Evidence, read_evidence
from cnnbench.harness.run.files import write_atomically
from cnnbench.harness.run.record import Record
from cnnbench.harness.suite.cell import Cell, Key
from cnnbench.output import figures
from cnnbench.output.charts import training_curves
from cnnbench.output.drawing import svg
from cnnbench.output.labels import label, network_label
from cnnbench.output.network_dots import dots
from cnnbench.output.palette import colours
from cnnbench.output.pictures import pictures_of, title_of
from cnnbench.output.published_figures import BUDGET, PublishedFigure, published_figures
from cnnbench.output.published_training import training_sections
from cnnbench.output.report import RunReport, environment_rows, gather
from cnnbench.output.table import Column, Entry, ReportTable
from cnnbench.output.tables import BAD
from cnnbench.output.text import escape_markdown, to_markdown

# Of the environment: what the figures depend on, and nothing that says whose machine it was.
REPORTED = frozenset(
    {"cores", "cpu_model", "distribution", "governor", "libc", "machine", "memory_gib", "packages", "processor_quota",
     "python", "python_implementation", "system", "transparent_huge_pages", "virtualisation"}
)  # fmt: skip

TRAINING = "training"  # the chart of its curves


def publish(folder: Path, target: Path) -> dict[str, Path]:
    """Writes ``SUITE.md``, its charts ``SUITE-*.svg`` and its pictures ``SUITE-*.png`` into ``target``, by name.

    Pictures are those that the run's reports have: of what trained networks made of the first test images.

    Args:
        folder: The run's.
        target: Made where it is not there.

    Raises:
        SuiteError: There is no run. DataError: a file of it is damaged.
    """
    page = _Page(read_evidence(folder))
    target.mkdir(parents=True, exist_ok=True)
    suite, pictures = page.run.suite, pictures_of(folder)
    contents: dict[str, str | bytes] = {f"{suite}-{name}.svg": text for name, text in page.charts().items()}
    contents |= {f"{suite}-{name}.png": data for name, data in pictures.items()}
    shown = {name: title_of(data) or name for name, data in pictures.items()}
    contents[f"{suite}.md"] = "\n".join(page.parts(shown)).rstrip() + "\n"
    for name, text in contents.items():
        write_atomically(target / name, text)
    return {name: target / name for name in contents}


class _Page:
    """The page of one run."""

    def __init__(self, run: Evidence) -> None:
        self.run = run
        self._report: RunReport = gather(run)
        known = published_figures(run)
        self._figures = [item for item in known if any(item.value(record) is not None for record in run.records)]
        self._used = next(figure.value for figure in known if figure.name == BUDGET)
        self._groups: dict[Key, dict[str, Record]] = {}
        for record in run.records:
            group = (*record.cell.comparison_group, record.cell.recipe_digest)
            self._groups.setdefault(group, {})[label(record.cell)] = record
        self._labels = list(dict.fromkeys(label(record.cell) for record in run.records))
        self._facts = {group: _facts(_any(members).cell) for group, members in self._groups.items()}
        self._varying: dict[str, set[str]] = {}
        first: dict[str, Cell] = {}
        for record in run.records:
            name = network_label(record.cell)
            other = first.setdefault(name, record.cell)
            differing = {axis for axis in AXES if getattr(record.cell, axis) != getattr(other, axis)}
            self._varying.setdefault(name, set()).update(differing)

    def parts(self, pictures: Mapping[str, str]) -> Iterator[str]:
        """The page in Markdown. Args: pictures: the network of each file of drawn test images."""
        run = self.run
        yield f"# {escape_markdown(run.suite)}\n"
        yield f"{escape_markdown(str(run.settings.get('description', '')))}\n"
        yield (
            f"Run `{run.run_id}` of the suite `{run.suite}`, started {self._report.started}, the last "
            f"record at {max((record.finished_utc for record in run.records), default='')}; "
            "written by `cnnbench report --publish`. Charts have the networks in the order of their "
            "multiply-accumulates.\n"
        )
        yield " · ".join(f"**{tile.value}** {escape_markdown(tile.label)}" for tile in self._report.tiles) + "\n"
        for caution in self._report.cautions:
            yield f"**Caution:** {escape_markdown(caution)}\n"
        yield from _section("The backends side by side", to_markdown(self._summary()))
        shown = {"Training curves": f"{run.suite}-{TRAINING}.svg"}
        shown |= {f"Test images of {network}": f"{run.suite}-{name}.png" for name, network in pictures.items()}
        for title, text in training_sections(run.records, shown):
            yield from _section(title, text)
        for item in self._figures:
            chart = f"![{item.title}]({run.suite}-{item.name}.svg)"
            yield from _section(item.title, f"{item.text}\n\n{chart}\n\n{to_markdown(self._wide(item))}")
        yield from _section("Networks", to_markdown(self._networks()))
        environment = environment_rows(run, REPORTED)
        yield from _section("Environment", "\n".join(f"* {n}: {escape_markdown(v)}" for n, v in environment))
        if self._report.notes:
            yield from _section("Notes", "\n".join(f"* {escape_markdown(note)}" for note in self._report.notes))

    def charts(self) -> dict[str, str]:
        """SVG by name: for each figure a dot for every network and backend, networks by their multiply-accumulates."""
        found = {}
        order = sorted(self._groups, key=lambda group: self._facts[group][1])
        tints = colours(record.cell for record in self.run.records)
        for item in self._figures:
            series = {
                shown: (
                    tints[next(m[shown].cell.series for m in self._groups.values() if shown in m)],
                    [item.value(record) if (record := self._groups[g].get(shown)) else None for g in order],
                )
                for shown in self._labels
            }
            rows = [self._row(group) for group in order]
            found[item.name] = svg(item.name, partial(dots, rows, series, item.axis, percent=item.percent))
        trained = [record for record in self.run.records if record.training is not None]
        if trained:
            found[TRAINING] = svg(TRAINING, partial(training_curves, trained, tints))
        return found

    def _wide(self, figure: PublishedFigure) -> ReportTable:
        """One row a network; an entry without a figure says why."""
        columns = (Column("network", "left"), *(Column(name) for name in self._labels))
        rows = []
        for group, members in self._groups.items():
            entries = [_entry(members.get(name), figure) for name in self._labels]
            rows.append((Entry(self._row(group)), *entries))
        return ReportTable("", columns, tuple(rows))

    def _row(self, group: Key) -> str:
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


# What tells rows of one network apart, and how it is written.
AXES: dict[str, Callable[[Any], str]] = {
    "image": lambda image: "×".join(map(str, image)),
    "batch": lambda batch: f"batch {batch}",
    "precision": str,
    "threads": lambda threads: "all threads" if threads is None else f"{threads} threads",
    "device": str,
    "data": str,
}


def _section(title: str, text: str) -> Iterator[str]:
    yield f"## {title}\n\n{text.rstrip()}\n"


def _any(members: Mapping[str, Record]) -> Record:
    return next(iter(members.values()))


def _facts(cell: Cell) -> tuple[int, int]:
    """Parameters and multiply-accumulates of one image; (0, 0) of a network that is not the same here any more."""
    from cnnbench.harness.suite.networks import network
    from cnnbench.spec.summary import summarize

    try:
        graph = network(cell.architecture, cell.image, cell.num_classes)
        summary = summarize(graph)
    except (CnnbenchError, OSError):
        return 0, 0
    if cell.graph_digest is not None and cell.graph_digest != graph.digest:
        return 0, 0
    return summary.parameters, summary.macs


def _entry(record: Record | None, figure: PublishedFigure) -> Entry:
    if record is None:
        return Entry("not in the suite", "muted")
    if figure.value(record) is not None:
        return Entry(figure.shown(record))
    reason = record.reason or "not measured"
    return Entry(reason if record.status == "ok" else f"{record.status.replace('_', ' ')}: {reason}", "muted")


def _median(record: Record) -> float:
    assert record.latency is not None
    return record.latency.median_s.value
