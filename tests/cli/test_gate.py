"""``gate``, ``compare``, ``baseline``, ``report``, ``list runs`` over runs whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from synthetic_run import synthetic_run, write_run

from cnnbench.cli.entry import execute
from cnnbench.gates.evidence import Evidence
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.plan import Filters, Plan


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return tmp_path


def written(name: str, **truth: object) -> Evidence:
    from dataclasses import replace

    run = replace(synthetic_run(**truth), run_id=name)
    write_run(run, Path("reports/runs"))
    return run


def said(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = execute(list(arguments))
    return code, capfd.readouterr().out


def test_a_baseline_is_kept_and_shown(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    written("20260101T000000Z-a")
    assert said(capfd, "baseline", "set", "latest", "--reason", "first")[0] == 0
    assert (here / "reports/baselines/synthetic.json").exists()
    code, out = said(capfd, "baseline", "show", "synthetic")
    assert code == 0
    assert "20260101T000000Z-a" in out
    assert "first" in out
    data = json.loads(said(capfd, "baseline", "show", "synthetic", "--json")[1])
    assert data["run_id"] == "20260101T000000Z-a"


def test_a_slower_backend_regresses_and_an_equal_run_does_not(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    written("20260101T000000Z-a", launches=4, rounds=10)
    assert said(capfd, "baseline", "set", "synthetic")[0] == 0
    written("20260102T000000Z-b", launches=4, rounds=10, slowdown={"torch": 1.6})
    code, out = said(capfd, "gate", "20260102T000000Z-b", "--json", "--junit", "gate.xml")
    result = json.loads(out)
    regressed = {item["subject"] for item in result["verdicts"] if item["verdict"] == "regressed"}
    assert code == result["exit_code"] == 1
    assert regressed
    assert all("torch" in name for name in regressed)
    tree = ElementTree.parse(here / "gate.xml").getroot()
    assert int(tree.get("failures", "0")) >= len(regressed)
    assert json.loads((here / "reports/runs/synthetic/20260102T000000Z-b/gate.json").read_text())["verdicts"]
    code, out = said(capfd, "gate", "20260101T000000Z-a", "--base", "20260101T000000Z-a")
    assert code == 0
    assert "The gate passes" in out


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{")], ids=["gone", "damaged"])
@pytest.mark.parametrize("which", ["a", "b"])
def test_a_run_without_its_summary_passes_no_gate_and_is_no_baseline(
    here: Path, capfd: pytest.CaptureFixture[str], which: str, damage: Callable[[Path], object]
) -> None:
    for name in ("a", "b"):
        written(name, launches=4, rounds=10)
    assert said(capfd, "gate", "b", "--base", "a")[0] == 0
    damage(here / "reports/runs/synthetic" / which / "summary.json")
    code, out = said(capfd, "gate", "b", "--base", "a", "--json")
    if code == 2:  # a damaged file of the base is refused as a whole
        return
    assert code == json.loads(out)["exit_code"] == 5
    assert json.loads(out)["unfinished"] == [which]
    assert said(capfd, "baseline", "set", which)[0] == 2


def test_a_run_without_its_plan_passes_no_gate(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        written(name, launches=4, rounds=10)
    (here / "reports/runs/synthetic/b/plan.json").unlink()
    for command in (("gate", "b", "--base", "a"), ("compare", "a", "b")):
        code, out = said(capfd, *command)
        assert code == 5
        assert "run b has no plan" in out
        assert "The gate is undecided" in out


def test_an_interrupted_run_is_no_baseline(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    written("a")
    store = RunStore(here / "reports/runs/synthetic/a")
    store.write_summary(store.read_summary().model_copy(update={"interrupted": True}))
    assert execute(["baseline", "set", "a"]) == 2
    assert "has not come to its end" in capfd.readouterr().err


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{")], ids=["gone", "damaged"])
def test_a_run_whose_records_were_lost_is_no_baseline(
    here: Path, capfd: pytest.CaptureFixture[str], damage: Callable[[Path], object]
) -> None:
    run = written("a")
    damage(here / "reports/runs/synthetic/a/cells" / run.records[0].cell.id / "record.json")
    assert execute(["baseline", "set", "a"]) == 2
    assert f"lacks 1 of its {len(run.records)} cells" in capfd.readouterr().err
    assert not (here / "reports/baselines").exists()


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{")], ids=["gone", "damaged"])
@pytest.mark.parametrize("file", ["record.json", "samples.jsonl"])
def test_a_run_of_which_something_was_lost_is_not_bundled(
    here: Path, capfd: pytest.CaptureFixture[str], damage: Callable[[Path], object], file: str
) -> None:
    run = written("a")
    assert execute(["bundle", "a", "-o", "whole.zip"]) == 0
    cell = run.records[0].cell.id
    damage(here / "reports/runs/synthetic/a/cells" / cell / file)
    assert execute(["bundle", "a", "-o", "a.zip"]) == 2
    assert cell in capfd.readouterr().err
    assert not (here / "a.zip").exists()


@pytest.mark.parametrize("selected", [False, True])
def test_a_run_that_lacks_cells_of_the_baseline_passes_only_where_a_part_was_asked_for(
    here: Path, capfd: pytest.CaptureFixture[str], selected: bool
) -> None:
    written("a", launches=4, rounds=10)
    run = written("b", launches=4, rounds=10, backends=("numpy", "torch", "jax"))
    store = RunStore(here / "reports/runs/synthetic/b")
    filters = Filters(expression="not tensorflow") if selected else Filters()
    store.write_plan(store.read_plan().model_copy(update={"filters": filters}))
    code, out = said(capfd, "gate", "b", "--base", "a", "--json")
    result = json.loads(out)
    lacking = {record.cell.id for record in synthetic_run().records} - {record.cell.id for record in run.records}
    assert code == result["exit_code"] == (0 if selected else 5)
    assert set(result["absent"]) == (set() if selected else lacking)
    assert any(f"{len(lacking)} cells of the baseline are not in this run" in note for note in result["notes"])


def test_the_jobs_summary_is_written(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    written("20260101T000000Z-a")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(here / "summary.md"))
    said(capfd, "gate", "latest", "--base", "latest")
    assert "| cell |" in (here / "summary.md").read_text()


def test_no_baseline_says_how_to_set_one(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    written("20260101T000000Z-a")
    assert execute(["gate"]) == 2
    assert "cnnbench baseline set" in capfd.readouterr().err


def test_compare_shows_the_group_or_another_run(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    written("20260101T000000Z-a")
    written("20260102T000000Z-b", slowdown={"jax": 2.0})
    code, out = said(capfd, "compare", "synthetic", "--json")
    assert code == 0
    assert any(item["ratio"]["value"] == 1.0 for item in json.loads(out)["ratios"])
    code, out = said(capfd, "compare", "20260101T000000Z-a", "20260102T000000Z-b")
    assert code == 1
    assert "jax" in out
    assert "against 20260101T000000Z-a" in out


def test_compare_judges_as_the_gate_of_the_suite_does(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    suite = Suite.model_validate(
        {
            "schema_version": 1,
            "name": "synthetic",
            "matrix": {"architectures": "lenet5", "backends": "numpy"},
            "gates": {"latency": {"threshold": 5.0, "min_change_s": 1.0}},
        }
    )
    for name, slowdown in (("a", {}), ("b", {"torch": 1.6})):
        run = written(name, launches=4, rounds=10, slowdown=slowdown)
        cells = tuple(record.cell for record in run.records)
        RunStore(here / "reports/runs/synthetic" / name).write_plan(Plan(suite=suite, cells=cells))
    gate = json.loads(said(capfd, "gate", "b", "--base", "a", "--json")[1])
    compared = json.loads(said(capfd, "compare", "a", "b", "--json")[1])
    assert "regressed" not in {item["verdict"] for item in gate["verdicts"]}, "six times as slow is tolerated here"
    assert compared["result"]["verdicts"] == gate["verdicts"]
    assert execute(["compare", "a", "b"]) == execute(["gate", "b", "--base", "a"]) == gate["exit_code"]


def test_reports_are_written_again(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = written("20260101T000000Z-a")
    code, out = said(capfd, "report", "latest", "--json")
    files = json.loads(out)["files"]
    assert code == 0
    assert {Path(path).name for path in files.values()} == {"report.md", "report.html", "junit.xml"}
    assert run.records[0].cell.architecture in Path(files["report.md"]).read_text()


def test_runs_are_listed_with_their_outcome(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert said(capfd, "list", "runs") == (0, "no run in reports/runs\n")
    run = written("20260101T000000Z-a")
    (row,) = json.loads(said(capfd, "list", "runs", "--json")[1])
    assert (row["run"], row["suite"], row["cells"]) == ("20260101T000000Z-a", "synthetic", len(run.records))
    assert row["exit_code"] == 0


@pytest.mark.parametrize("text", ["synthetik", "20260101T000000Z-b"])
def test_a_run_that_is_not_there_is_told_with_the_nearest(
    here: Path, capfd: pytest.CaptureFixture[str], text: str
) -> None:
    written("20260101T000000Z-a")
    assert execute(["report", text]) == 2
    assert "did you mean" in capfd.readouterr().err


def test_a_baseline_of_another_suite_or_with_a_cell_twice_is_refused(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    written("20260101T000000Z-a")
    assert said(capfd, "baseline", "set", "latest")[0] == 0
    path = here / "reports/baselines/synthetic.json"
    content = json.loads(path.read_text())
    other = here / "other.json"
    other.write_text(json.dumps({**content, "suite": "other"}))
    assert execute(["gate", "latest", "--baseline", str(other)]) == 2
    assert "the baseline is of another suite" in capfd.readouterr().err
    path.write_text(json.dumps({**content, "cells": [*content["cells"], content["cells"][0]]}))
    assert execute(["gate", "latest"]) == 2
    assert "the baseline has a cell twice" in capfd.readouterr().err


def test_a_median_outside_its_own_interval_is_drawn(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    written("20260101T000000Z-a")
    for path in here.rglob("record.json"):
        record = json.loads(path.read_text())
        for name in ("median_s", "throughput_images_per_s"):
            if record.get("latency"):
                record["latency"][name]["low"] = 2 * record["latency"][name]["value"]
        path.write_text(json.dumps(record))
    assert execute(["report", "latest"]) == 0
