"""The page of claims: written with every finding, each with its verdict, its figures and a chart."""

from __future__ import annotations

import math
from dataclasses import replace
from xml.etree import ElementTree

from cnnbench.claims.claim import ClaimEvidence, ClaimFinding, NetworkClaim
from cnnbench.output.claims_page import ClaimsPage

INSIDE = ClaimEvidence("a figure | with a bar", (1.0, 1.1, 0.9), least=0.5)
OUTSIDE = ClaimEvidence("too large", (3.0, 3.1, 2.9), most=2)
EXACT = ClaimEvidence("counted", (9.0,), least=9, most=9)
NAN = ClaimEvidence("no number", (math.nan, 1.0, 2.0), most=2)


def finding(name: str, *evidence: ClaimEvidence) -> ClaimFinding:
    claim = NetworkClaim(name, 7, "It is so.", "a book", lambda laboratory: evidence, ("it rains",))
    return ClaimFinding(claim, evidence, 1.5)


def test_every_finding_writes_the_page_anew_with_its_chart(tmp_path):
    page = ClaimsPage(tmp_path / "new", "numpy")
    page.add(finding("first", INSIDE, EXACT))
    first = (tmp_path / "new/claims.md").read_text()
    assert "holds with conditions" in first
    assert "* if it rains" in first
    assert r"a figure \| with a bar" in first
    page.add(finding("second", OUTSIDE))
    text = (tmp_path / "new/claims.md").read_text()
    assert "does not hold" in text
    assert "in 3.00 s, over 3 seeds" in text
    for name in ("first", "second"):
        assert f"](claims-{name}.svg)" in text
        ElementTree.parse(tmp_path / f"new/claims-{name}.svg")


def test_a_chart_shows_where_the_statement_has_each_figure(tmp_path):
    ClaimsPage(tmp_path, "numpy").add(finding("mine", INSIDE, OUTSIDE))
    drawn = (tmp_path / "claims-mine.svg").read_text()
    assert "too large" in drawn
    assert drawn.count("fill: #d7eadb") == 2


def test_a_failed_experiment_stands_on_the_page_without_a_chart_and_findings_are_in_the_claims_order(tmp_path):
    page = ClaimsPage(tmp_path, "numpy")
    page.add(replace(finding("mine"), lack="RuntimeError: no memory"))
    page.add(replace(finding("early", EXACT), claim=replace(finding("early").claim, number=2)), "a remark")
    text = (tmp_path / "claims.md").read_text()
    assert "* the experiment failed: RuntimeError: no memory" in text
    assert text.index("## 2. early") < text.index("* a remark") < text.index("## 7. mine: undecided")
    assert "seeds" not in text
    assert [path.name for path in tmp_path.glob("*.svg")] == ["claims-early.svg"]


def test_a_figure_that_is_no_number_is_drawn_and_undecided(tmp_path):
    ClaimsPage(tmp_path, "numpy").add(finding("mine", NAN))
    assert "undecided" in (tmp_path / "claims.md").read_text()
    ElementTree.parse(tmp_path / "claims-mine.svg")
