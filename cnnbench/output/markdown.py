"""The Markdown report: the tables of a run, for pull requests, notes and terminals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cnnbench.gates.claims import Verification
from cnnbench.gates.verdicts import GateResult
from cnnbench.output.claim_tables import claims_headline, claims_table
from cnnbench.output.report import RunReport
from cnnbench.output.table import ReportTable
from cnnbench.output.text import escape_markdown, printable, to_markdown
from cnnbench.output.verdict_tables import differences_table, headline, series_table, verdict_table


def render_markdown(report: RunReport) -> str:
    """The whole report but its charts."""
    return "\n".join(_parts(report)).rstrip() + "\n"


def _parts(report: RunReport) -> Iterator[str]:
    yield f"# {escape_markdown(report.title)}\n"
    yield f"cnnbench run `{_code(report.run_id)}`, started {escape_markdown(report.started)}\n"
    yield " · ".join(f"**{escape_markdown(tile.value)}** {escape_markdown(tile.label)}" for tile in report.tiles) + "\n"
    yield from (f"**Caution:** {escape_markdown(sentence)}\n" for sentence in report.cautions)
    yield from _section("Results", report.results)
    if report.precision:
        yield f"{escape_markdown(report.precision)}\n"
    if report.findings:
        yield from (f"* {escape_markdown(sentence)}" for sentence in report.findings)
        yield ""
    if report.problems:
        yield "## Failures\n"
        for row in report.problems.rows:
            cell, what, node, text = (entry.text for entry in row)
            yield f"**{escape_markdown(what)}** in `{_code(cell)}`, node {escape_markdown(node)}\n"
            yield "\n".join("    " + line for line in printable(text).splitlines()) + "\n"
    if report.gate:
        yield f"## Gate\n\n{escape_markdown(headline(report.gate))}\n"
        for table in report.gate_tables:
            yield f"### {table.title}\n\n{to_markdown(table)}"
        yield from _bullets(report.gate.notes)
    for table in report.tables:
        yield from _section(table.title, table)
    yield from _section("Skipped", report.skips)
    yield "## Environment\n"
    yield from _bullets([f"{name}: {value}" for name, value in report.environment])
    if report.notes:
        yield "## Notes\n"
        yield from _bullets(report.notes)


def _section(title: str, table: ReportTable) -> Iterator[str]:
    if table:
        yield f"## {escape_markdown(title)}\n\n{to_markdown(table)}"


def _bullets(lines: Sequence[str]) -> Iterator[str]:
    yield from (f"* {escape_markdown(line)}" for line in lines)
    yield ""


def _code(text: str) -> str:
    """Text within backquotes, which cannot be escaped there."""
    return printable(text).replace("`", "'").replace("\n", " ")


def gate_markdown(result: GateResult) -> str:
    """The verdicts of a gate: in a sentence, by backend, and cell by cell."""
    parts = [f"## {escape_markdown(result.suite)}\n\n{escape_markdown(headline(result))}\n"]
    for table in (series_table(result), verdict_table(result)):
        if table:
            parts.append(f"### {table.title}\n\n{to_markdown(table)}")
    return "\n".join([*parts, *_bullets(result.notes)]).rstrip() + "\n"


def verification_markdown(found: Verification) -> str:
    """A bundle's claims: in a sentence, what differs in settings, and every grade."""
    parts = [f"## {escape_markdown(found.suite)}\n\n{escape_markdown(claims_headline(found))}\n"]
    for table in (differences_table(found.differences, ("in the bundle", "here")), claims_table(found)):
        if table:
            parts.append(f"### {table.title}\n\n{to_markdown(table)}")
    return "\n".join(parts).rstrip() + "\n"
