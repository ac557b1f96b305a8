"""The claims that a run tried: a table for its reports, and for each backend a page with charts beside its records."""

from __future__ import annotations

from pathlib import Path

from cnnbench.gates.evidence import Evidence
from cnnbench.harness.run.claim_records import FOLDER, read_claims
from cnnbench.output.claims_page import TONES, ClaimsPage
from cnnbench.output.figures import seconds
from cnnbench.output.table import Column, Entry, ReportTable


def run_claims_table(run: Evidence) -> ReportTable:
    """A row for each claim that a run tried on each backend. Args: run: With its folder."""
    rows = []
    for record in read_claims(run.folder) if run.folder is not None else ():
        series, found = record.series, record.result
        rows.append(
            (
                Entry(str(found.number)),
                Entry(found.statement),
                Entry(series, series=series),
                Entry(found.verdict, TONES.get(found.verdict, "good")),
                Entry(seconds(found.seconds)),
            )
        )
    columns = (
        Column(""),
        Column("statement", "left", prose=True),
        Column("backend", "left"),
        Column("verdict", "left"),
        Column("took"),
    )
    return ReportTable("Claims", columns, tuple(rows))


def claim_tags(run: Evidence) -> dict[str, str]:
    """Verdicts as MLflow finds runs by them: ``cnnbench.claim.toeplitz.torch``. Args: run: With its folder."""
    found = read_claims(run.folder) if run.folder is not None else ()
    return {f"cnnbench.claim.{item.claim.name}.{item.claim.backend}": item.result.verdict for item in found}


def write_claim_pages(folder: Path) -> None:
    """``claims/<backend>-<mode>/claims.md`` with its charts. Args: folder: The run's."""
    pages: dict[str, ClaimsPage] = {}
    for record in read_claims(folder):
        series = record.series
        if series not in pages:
            pages[series] = ClaimsPage(folder / FOLDER / series.replace(" ", "-"), series)
        pages[series].add(record.finding())
