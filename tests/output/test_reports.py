"""Reports: self-contained, complete, and deaf to what names contain."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from synthetic_run import synthetic_run, write_run

from cnnbench.gates.baselines import snapshot
from cnnbench.gates.evidence import Evidence, read_evidence
from cnnbench.gates.verdicts import gate
from cnnbench.output.github_summary import append_summary
from cnnbench.output.html import render_html
from cnnbench.output.junit import gate_cases, render_junit, run_cases
from cnnbench.output.markdown import gate_markdown, render_markdown
from cnnbench.output.report import gather
from cnnbench.output.reports import write_reports

NASTY = "</title><script>alert(1)</script><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """Collects tags, attributes and visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._style = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._style else data


@pytest.fixture(scope="module")
def run() -> Evidence:
    return synthetic_run(seed=1)


@pytest.fixture(scope="module")
def page(run: Evidence) -> str:
    head = snapshot(run)
    return render_html(gather(run, gate(head, head)))


def test_the_page_needs_nothing_else(page: str) -> None:
    tags = Page(page).tags
    outside = [
        value
        for _, attributes in tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "action", "data") and value and not value.startswith("#")
    ]

    assert outside == []
    assert not {"script", "iframe", "object", "embed", "link"} & {tag for tag, _ in tags}
    assert "@import" not in page
    assert re.findall(r"url\((?!#)", page) == []
    assert "default-src 'none'" in page


def test_the_page_draws_latency_budgets_training_and_speed(page: str, run: Evidence) -> None:
    parsed = Page(page)
    ids = [attributes["id"] for tag, attributes in parsed.tags if tag == "section" and "id" in attributes]

    sections = {"results", "latency", "numerics", "throughput", "memory", "training", "gate", "details", "environment"}
    assert sections <= set(ids)
    assert sum(tag == "svg" for tag, _ in parsed.tags) == 6
    for record in run.records:
        assert record.cell.series in parsed.text
    assert "layer4.1.conv2" in parsed.text
    assert "Example CPU" in parsed.text


def test_ids_within_the_drawings_do_not_collide(page: str) -> None:
    ids = [attributes["id"] for _, attributes in Page(page).tags if attributes.get("id")]
    used = {name for name in re.findall(r"url\(#([^)]+)\)|xlink:href=\"#([^\"]+)\"", page) for name in name if name}

    assert used <= set(ids)
    assert all(ids.count(name) == 1 for name in used)


def test_names_cannot_become_markup(run: Evidence) -> None:
    records = []
    for record in run.records[:4]:
        cell = record.cell.model_copy(update={"architecture": NASTY, "mode": NASTY, "group": NASTY})
        records.append(
            record.model_copy(update={"cell": cell, "status": "error", "reason": NASTY, "versions": {NASTY: NASTY}})
        )
    nasty = Evidence(
        suite=NASTY, run_id=NASTY, records=tuple(records), environment={NASTY: NASTY}, notes=(NASTY,),
        samples=run.samples, budgets=run.budgets,
    )  # fmt: skip
    html = render_html(gather(nasty))
    markdown = render_markdown(gather(nasty))

    assert "script" not in {tag for tag, _ in Page(html).tags}
    assert "<img" not in html
    assert "alert(1)" in Page(html).text
    lines = [line for line in markdown.splitlines() if not line.startswith("    ")]  # code blocks show text as it is
    assert not any("<script>" in re.sub(r"`[^`]*`", "", line) for line in lines)


def test_a_failure_shows_its_divergence_report(run: Evidence) -> None:
    from cnnbench.numerics.outcome import CheckOutcome

    report = "layer1.0.bn1 introduces the error\n  worst element (0, 3, 1, 1): got 1.25, expected 1.0"
    check = CheckOutcome(name="local", status="failed", budget_used=99.0, node="layer1.0.bn1", message=report)
    bad = run.records[0].model_copy(update={"status": "mismatch", "checks": (check,)})
    evidence = Evidence(suite="s", run_id="r", records=(bad, *run.records[1:]), samples=run.samples)

    html = Page(render_html(gather(evidence))).text
    assert "worst element (0, 3, 1, 1): got 1.25, expected 1.0" in html
    assert "worst element (0, 3, 1, 1)" in render_markdown(gather(evidence))


def test_a_run_of_nothing_still_has_a_report() -> None:
    empty = gather(Evidence(suite="empty", run_id="r", records=()))

    assert "empty" in render_html(empty)
    assert render_markdown(empty).startswith("# empty")


def test_a_run_in_which_all_failed_has_a_report_without_charts(run: Evidence) -> None:
    crashed = tuple(
        r.model_copy(update={"status": "crashed", "latency": None, "checks": (), "training": None, "memory": None})
        for r in run.records
    )
    html = render_html(gather(Evidence(suite="s", run_id="r", records=crashed)))

    assert "svg" not in {tag for tag, _ in Page(html).tags}
    assert html.count("crashed") >= len(crashed)


def test_reports_are_written_beside_the_records(run: Evidence, tmp_path: Path) -> None:
    folder = write_run(run, tmp_path)
    files = write_reports(folder)

    assert set(files) == {"report.md", "report.html", "junit.xml"}
    assert all(path.parent == folder and path.stat().st_size for path in files.values())
    back = read_evidence(folder)
    assert back.records == run.records
    assert back.yardsticks == run.yardsticks
    assert dict(back.samples)["resnet50-jax-jit-b8"] == run.samples["resnet50-jax-jit-b8"]


def test_junit_counts_what_it_holds(run: Evidence) -> None:
    records = list(run.records)
    records[0] = records[0].model_copy(update={"status": "crashed", "reason": "signal 9\x00<&>"})
    records[1] = records[1].model_copy(update={"status": "nan", "reason": "NaN in logits"})
    records[2] = records[2].model_copy(update={"status": "skipped", "reason": "no such device"})
    root = ElementTree.fromstring(render_junit("suite & co", run_cases(records)))

    assert root.tag == "testsuites"
    assert int(root.get("tests") or 0) == len(root.findall(".//testcase")) == len(records) + 16 * 4
    for name, tag in (("errors", "error"), ("failures", "failure"), ("skipped", "skipped")):
        assert int(root.get(name) or 0) == len(root.findall(f".//{tag}")) == 1
    assert "signal 9" in (root.find(".//error").get("message") or "")  # type: ignore[union-attr]
    for suite in root.findall("testsuite"):
        assert int(suite.get("tests") or 0) == len(suite.findall("testcase"))


def test_junit_of_a_gate_fails_on_regressions_only(run: Evidence) -> None:
    slow = synthetic_run(seed=2, slowdown={"torch": 1.5})
    result = gate(snapshot(slow), snapshot(run))
    root = ElementTree.fromstring(render_junit("gate", gate_cases(result)))

    regressed = result.counts["regressed"] + sum(verdict.verdict == "regressed" for verdict in result.series)
    assert len(root.findall(".//failure")) == regressed > 0
    assert all("regressed" in (node.get("message") or "") for node in root.findall(".//failure"))


def test_markdown_of_a_gate_states_the_outcome(run: Evidence) -> None:
    slow = snapshot(synthetic_run(seed=2, slowdown={"torch": 1.5}))
    text = gate_markdown(gate(slow, snapshot(run)))

    assert "The gate fails: a regression was found" in text
    assert "**regressed**" in text


def test_the_job_summary_is_appended_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    assert append_summary("# one") is None

    path = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    append_summary("# one")
    append_summary("# two\n" + "x\n" * 600_000)
    text = path.read_text()
    assert text.startswith("# one\n\n# two\n")
    assert "… cut" in text
    assert len(text.encode()) < 2**20


def test_planned_cells_without_a_record_count(run: Evidence) -> None:
    """As in the report of a run that was killed: what there is ended well, and the rest is not forgotten."""
    rest = replace(run, records=run.records[2:], unrecorded=tuple(record.cell for record in run.records[:2]))
    tiles = {tile.label: tile for tile in gather(rest).tiles}
    assert tiles["cells ended well"].value == f"{len(run.records) - 2} / {len(run.records)}"
    assert tiles["cells ended well"].tone == "bad"
    assert tiles["cells without a record"].value == "2"
    cases = {case.suite: case for case in run_cases(rest.records, rest.unrecorded) if case.name == "cell"}
    assert {cases[cell.id].outcome for cell in rest.unrecorded} == {"error"}
    assert cases[rest.records[0].cell.id].outcome == "passed"
