"""Table values of a bundle's graded claims."""

from __future__ import annotations

from cnnbench.gates.claims import GRADES, Verification
from cnnbench.output import figures
from cnnbench.output.table import Column, Entry, ReportTable, Tone

TONES: dict[str, Tone] = {
    "bitwise": "good",
    "within budget": "good",
    "ratio reproduced": "good",
    "not comparable": "warn",
    "not reproduced": "bad",
}


def claims_table(verification: Verification) -> ReportTable:
    """A row for each claim, the worst grades first."""
    rows = tuple(
        (
            Entry(claim.subject, series=claim.series),
            Entry(claim.claim),
            Entry(claim.grade, TONES[claim.grade]),
            Entry(claim.bundled or figures.NOTHING),
            Entry(claim.again or figures.NOTHING),
            Entry(claim.reason),
        )
        for claim in sorted(verification.claims, key=lambda claim: GRADES.index(claim.grade))
    )
    columns = (
        Column("cell", "left"),
        Column("claim", "left"),
        Column("grade", "left"),
        Column("in the bundle"),
        Column("here"),
        Column("reason", "left", prose=True),
    )
    return ReportTable("Claims", columns, rows)


def claims_headline(verification: Verification) -> str:
    """The verification in one sentence."""
    found = verification.counts
    counts = ", ".join(f"{found[grade]} {grade}" for grade in reversed(GRADES) if grade in found)
    outcome = {0: "is reproduced", 5: "is not wholly comparable"}.get(verification.exit_code, "is not reproduced")
    return f"Run {verification.bundled_run} {outcome} here ({counts or 'it claims nothing'})."
