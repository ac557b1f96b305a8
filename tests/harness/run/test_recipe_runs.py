"""A run of two recipes on two programs: records, curves, resume of one recipe, gates, MLflow, frames, the page."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_suite import small_suite

from cnnbench.gates.baselines import snapshot
from cnnbench.gates.evidence import Evidence, read_evidence
from cnnbench.gates.verdicts import gate
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.plan import Plan, plan
from cnnbench.output.frames import agreements, results
from cnnbench.output.published import publish
from cnnbench.output.recorders.mlflow_layout import plan_runs
from cnnbench.output.report import gather
from cnnbench.output.table import ReportTable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")
RECIPES = [
    {"optimizer": {"kind": "sgd", "momentum": 0.9}, "learning_rate": 0.05},
    {"optimizer": "adam", "learning_rate": 0.01, "initializer": "orthogonal"},
    {"optimizer": {"kind": "lbfgs", "history": 2}, "learning_rate": 0.5, "batch": 128, "epochs": 3},
]
NETWORK = """\
name: tiny
inputs: [{name: image, shape: [1, 8, 8]}]
nodes:
  - {name: conv, kind: conv, out_channels: 4, kernel_size: 3}
  - {name: relu, kind: relu}
  - {name: flat, kind: flatten}
  - {name: fc, kind: linear, out_features: 10}
"""


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    path = tmp_path_factory.mktemp("network") / "tiny.yaml"
    path.write_text(NETWORK)
    train = {
        "architectures": [f"file:{path}"], "epochs": 1, "batch": 32, "train_images": 128, "envelope_runs": 1,
        "recipes": RECIPES,
    }  # fmt: skip
    backends = [{"name": "numpy", "mode": ["fast", "reference"]}]
    measure = {"latency": None, "memory": False, "yardsticks": False}
    matrix = {"architectures": [f"file:{path}"], "num_classes": None, "backends": backends, "data": "digits"}
    return plan(small_suite("several", matrix=matrix, checks=("end_to_end", "training"), measure=measure, train=train))


@pytest.fixture(scope="module")
def folder(planned: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(planned, RunOptions(root=tmp_path_factory.mktemp("runs"))).folder


@pytest.fixture
def found(folder: Path) -> Evidence:
    return read_evidence(folder)


def texts(table: ReportTable) -> list[list[str]]:
    return [[entry.text for entry in row] for row in table.rows]


def test_every_recipe_trains_and_its_curves_agree_with_the_reference_of_the_same_recipe(found: Evidence) -> None:
    assert [(record.cell.recipe, record.cell.mode, record.status) for record in found.records] == [
        (recipe, mode, "ok") for recipe in ("sgd", "adam", "lbfgs") for mode in ("fast", "reference")
    ]
    curves = {}
    for record in found.records:
        assert record.training is not None
        assert record.training.envelope.agrees is True
        assert record.check("training").status == "passed"
        curves.setdefault(record.cell.recipe, []).append(record.training.losses)
    assert [len(losses) for losses, _ in curves.values()] == [4, 4, 3]
    assert curves["sgd"][0][0] != curves["adam"][0][0], "another rule of initial weights"
    assert len({losses[1] for losses, _ in curves.values()}) == 3
    starts = {record.cell.recipe: record.digests.start for record in found.records}
    assert starts["sgd"] == starts["lbfgs"] != starts["adam"]


def test_a_lost_recipe_alone_is_trained_again(planned: Plan, folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "several" / folder.name
    shutil.copytree(folder, again)
    store = RunStore.open(again)
    lost = next(record for record in store.records().values() if record.cell.recipe == "adam")
    shutil.rmtree(store.cell_folder(lost.cell.id))
    (again / "summary.json").unlink()
    before = {name: record.finished_utc for name, record in store.records().items()}
    result = run(planned, RunOptions(resume=again))
    assert result.exit_code == 0
    for record in result.records:
        if record.cell.id == lost.cell.id:
            assert record.training.losses == lost.training.losses
        else:
            assert record.finished_utc == before[record.cell.id]


def test_the_accuracy_of_a_recipe_is_judged_against_its_own(found: Evidence) -> None:
    """The predictions of one recipe are made wrong: its cells regress, and no other."""
    worse = []
    for record in found.records:
        training = record.training
        if record.cell.recipe == "lbfgs":
            wrong = tuple((label + 1) % 10 for label in training.targets)
            training = training.model_copy(update={"predictions": wrong, "test_accuracy": 0.0})
        worse.append(record.model_copy(update={"training": training}))
    base, head = snapshot(found), snapshot(replace(found, records=tuple(worse)))
    verdicts = {item.subject: item.verdict for item in gate(head, base).verdicts if item.metric == "accuracy"}
    assert len(verdicts) == 6
    for record in found.records:
        assert (verdicts[record.cell.id] == "regressed") == (record.cell.recipe == "lbfgs")


def test_mlflow_has_a_run_of_each_recipe_with_its_settings(found: Evidence) -> None:
    children = [child for child in plan_runs(found, {}).children if child.kind == "training"]
    assert len({child.name for child in children}) == 6
    adam = next(child for child in children if child.params["recipe"] == "adam")
    assert adam.params["architecture"] == "tiny"
    assert adam.params["learning_rate"] == "0.01"
    assert (adam.params["optimizer"], adam.params["initializer"]) == ("adam", "orthogonal")
    lbfgs = next(child for child in children if child.params["recipe"] == "lbfgs")
    assert (lbfgs.params["batch"], lbfgs.params["epochs"]) == ("128", "3")
    assert adam.tags["cnnbench.recipe"] != lbfgs.tags["cnnbench.recipe"]


def test_frames_have_the_recipe_in_a_column(folder: Path) -> None:
    frame = results(folder)
    assert list(frame["recipe"]) == ["sgd", "sgd", "adam", "adam", "lbfgs", "lbfgs"]
    assert set(frame["network"]) == {"tiny"}
    assert list(agreements(folder)["recipe"]) == ["sgd", "adam", "lbfgs"]


def test_reports_tell_recipes_apart(folder: Path, found: Evidence, tmp_path: Path) -> None:
    report = gather(found)
    assert {row[0] for row in texts(report.results)} == {f"tiny, {name}" for name in ("sgd", "adam", "lbfgs")}
    assert sum("tiny, adam" in sentence for sentence in report.findings) >= 2
    written = publish(folder, tmp_path)
    page = written["several.md"].read_text(encoding="utf-8")
    assert "## Accuracy" in page
    assert "2 of 2 agree" in page
    assert "several-latency.svg" not in page, "nothing was timed"
    assert (tmp_path / "several-training.svg").exists()


def test_what_a_part_was_made_from_names_its_own_recipe(planned: Plan, found: Evidence) -> None:
    from cnnbench.harness.passes.findings import TrainingPart
    from cnnbench.harness.run.provenance import Installation, differences, made_from

    here, suite = Installation("python", {}), planned.suite
    parts: list[Any] = [made_from(record.cell, TrainingPart, suite, here) for record in found.records[::2]]
    assert set(differences(parts[0], parts[1])) == {"program", "settings"}
    other = suite.model_copy(update={"train": suite.train.model_copy(update={"recipes": suite.train.recipes[:1]})})
    assert made_from(found.records[0].cell, TrainingPart, other, here) == parts[0], "other recipes are no part of it"
