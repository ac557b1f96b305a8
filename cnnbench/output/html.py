"""The HTML report: one file that needs nothing else, in which every name is text."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from cnnbench.output.charts import charts
from cnnbench.output.report import RunReport
from cnnbench.output.table import Entry
from cnnbench.output.verdict_tables import headline

TEMPLATES = Path(__file__).parent / "templates"


RECORDS = "cnnbench-records"  # of the page's element with the digest of the records that it was made from


def render_html(report: RunReport, pictures: Mapping[str, bytes] | None = None, records: str = "") -> str:
    """The page. Everything but our own SVG is escaped; a content policy forbids scripts and outside resources.

    Args:
        report: Of the run.
        pictures: PNGs by name, which stand in the page.
        records: The digest of the records that it is made from.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from cnnbench.version import __version__

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.globals["texts"] = _texts
    drawn = charts(report.run.records, report.run.budgets, report.colours)
    named = {name: Markup(drawn[name]) if name in drawn else "" for name in CHARTS}  # noqa: S704 - drawn by us
    return environment.get_template("report.html.j2").render(
        report=report,
        charts=named,
        pictures={name: base64.b64encode(data).decode() for name, data in (pictures or {}).items()},
        machine=_machine(report),
        gate_headline=headline(report.gate) if report.gate else "",
        version=__version__,
        records_name=RECORDS,
        records=records,
    )


CHARTS = ("latency", "scatter", "nodes", "throughput", "memory", "training")


def _texts(row: Sequence[Entry], count: int) -> tuple[str, ...]:
    return tuple(entry.text for entry in row[:count])


def _machine(report: RunReport) -> str:
    """The processor and the number of processors that the run could use, as far as the environment tells."""
    environment = report.run.environment
    processors = environment.get("processors_allowed")
    parts = [str(environment.get("cpu_model") or "")]
    if processors:
        parts.append(f"{len(processors)} processors")
    return ", ".join(part for part in parts if part)
