"""The claims that a run tried: a table for its reports, and for each backend a page with charts beside its records."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from cnnbench.claims.claim import ClaimEvidence, ClaimFinding, NetworkClaim
from cnnbench.claims.laboratory import Laboratory
from cnnbench.errors import SpecError
from cnnbench.gates.evidence import Evidence
from cnnbench.harness.run.claim_records import FOLDER, ClaimRecord, read_claims
from cnnbench.output.claims_page import TONES, ClaimsPage
from cnnbench.output.figures import seconds
from cnnbench.output.table import Column, Entry, ReportTable


def run_claims_table(run: Evidence) -> ReportTable:
    """A row for each claim that a run tried on each backend. Args: run: With its folder."""
    rows = []
    for record in read_claims(run.folder) if run.folder is not None else ():
        series, found = _series(record), record.result
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
        series = _series(record)
        if series not in pages:
            pages[series] = ClaimsPage(folder / FOLDER / series.replace(" ", "-"), series)
        pages[series].add(_finding(record))


def _series(record: ClaimRecord) -> str:
    return f"{record.claim.backend} {record.claim.mode}"


def _finding(record: ClaimRecord) -> ClaimFinding:
    found = record.result
    claim = NetworkClaim(
        record.claim.name,
        found.number,
        found.statement,
        found.source,
        _tried_before,
        found.conditions,
        found.trains,
    )
    evidence = tuple(ClaimEvidence(item.what, item.values, item.least, item.most) for item in found.evidence)
    return ClaimFinding(claim, evidence, found.seconds, found.lack)


def _tried_before(laboratory: Laboratory) -> NoReturn:
    raise SpecError("what was read from a run's folder has no experiment", remedy="cnnbench claims tries it again")
