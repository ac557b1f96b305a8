"""A run is known by its own id, wherever its folder lies and however that is called."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from synthetic_run import synthetic_run, write_run

import cnnbench
from cnnbench.cli.entry import execute
from cnnbench.face.bundles import bundle
from cnnbench.face.recording import log
from cnnbench.gates.evidence import read_evidence
from cnnbench.harness.run.lookup import find_run
from cnnbench.harness.run.store import RunStore, latest, runs

OLD, NEW = "20260101T000000.000Z-aaaaaa", "20260102T000000.000Z-bbbbbb"


class Heard:
    """A recorder that remembers which runs it was told of."""

    def __init__(self) -> None:
        self.runs: list[str] = []

    def started(self, run: object) -> None:
        self.runs.append(run.id)  # type: ignore[attr-defined]

    def recorded(self, record: object, folder: Path) -> None:
        pass

    def finished(self, run: object) -> dict[str, str]:
        self.runs.append(run.id)  # type: ignore[attr-defined]
        return {}


def moved(name: str, run: str, root: Path) -> Path:
    """A run that was copied into a folder of another name."""
    from dataclasses import replace

    made = write_run(replace(synthetic_run(batches=(1,)), run_id=run), root / "made")
    target = root / name
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copytree(made, target))


def test_two_runs_in_folders_of_one_name_stay_two(tmp_path: Path) -> None:
    first, second = moved("job1/run", OLD, tmp_path), moved("job2/run", NEW, tmp_path)
    heard = Heard()
    for folder in (first, second):
        log(folder, {"heard": heard})
    assert heard.runs == [OLD, OLD, NEW, NEW]
    assert [read_evidence(folder).run_id for folder in (first, second)] == [OLD, NEW]
    assert cnnbench.gate(second, base=first).base_run == OLD


def test_a_run_that_is_given_as_the_working_folder_has_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = moved("somewhere", OLD, tmp_path)
    monkeypatch.chdir(folder)
    assert RunStore.open(Path()).id == RunStore.open(Path("../somewhere")).id == OLD
    assert execute(["report", "."]) == 0
    assert OLD in (folder / "report.md").read_text(encoding="utf-8")
    path, packed = bundle(".")
    assert path == Path(f"synthetic-{OLD}.cnnbench.zip")
    assert packed.manifest.run == OLD


def test_a_run_without_a_plan_has_its_folders_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = moved("somewhere", OLD, tmp_path)
    (folder / "plan.json").unlink()
    monkeypatch.chdir(folder)
    assert RunStore.open(Path()).id == "somewhere"


def test_runs_are_found_by_their_id_and_ordered_by_their_time(tmp_path: Path) -> None:
    moved("runs/synthetic/zz", OLD, tmp_path)
    moved(f"runs/synthetic/{NEW}", NEW, tmp_path)
    root = tmp_path / "runs"
    assert [folder.name for folder in runs(root)] == ["zz", NEW]
    assert latest("synthetic", root) == find_run("latest", root) == root / "synthetic" / NEW
    assert find_run(OLD, root).name == find_run("zz", root).name == "zz"
