"""Kept parts of cells: read back for what they were made from, and for nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from small_suite import small_suite

from cnnbench.harness.passes.findings import (
    ChecksPart,
    CurvePart,
    LaunchPart,
    MemoryPart,
    Parts,
    Phases,
    Sample,
    Training,
    TrainingPart,
)
from cnnbench.harness.run.kept_parts import KeptParts
from cnnbench.harness.run.provenance import Installation, made_from
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.model import Suite
from cnnbench.numerics.outcome import CheckOutcome

CELL = Cell(
    id="net-numpy-fast-b1", key="k", group="g", architecture="net", backend="numpy", mode="fast", batch=1,
    image=(1, 8, 8), graph_digest="graph", checks=("local",),
)  # fmt: skip
TRAINED = TrainingPart(training=Training(epochs=(), losses=(0.5, float("nan")), test_accuracy=0.5))
SAMPLES = (Sample(launch=0, round=0, index=0, latency_s=0.1),)
LAUNCH = LaunchPart(launch=0, phases=Phases(build_s=0.1), steady=True, calls_per_sample=1, samples=SAMPLES)
PARTS = {
    "checks": ChecksPart(outcomes=(CheckOutcome(name="local", status="passed"),)),
    "launch-0": LAUNCH,
    "launch-10": LAUNCH.model_copy(update={"launch": 10}),
    "launch-2": LAUNCH.model_copy(update={"launch": 2}),
    "memory": MemoryPart(phases=Phases(), memory=None, note="none"),
    "training": TRAINED,
    "training-reference-1": CurvePart(number=1, losses=(0.5,)),
    "training-curve-float64": CurvePart(number=None, losses=(0.5,)),
}
TRAIN = {"architectures": ["simple_cnn"], "epochs": 1}
EVERYTHING = {"checks", "launches", "memory", "training", "references", "exact_curve"}


def suite(**changes: Any) -> Suite:
    return small_suite("kept", train=TRAIN, **changes)


class Kept:
    """Parts in a folder, with the notes that reading them gave."""

    def __init__(
        self, root: Path, of: Suite | None = None, python: str = sys.executable, torch: str = "2.13.0"
    ) -> None:
        self.notes: list[str] = []
        settings = of or suite()
        store = RunStore.open(root)
        side = Installation(python, {"torch": torch})
        self.parts = KeptParts(store, lambda cell, kind: made_from(cell, kind, settings, side), self.notes.append)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = RunStore.create("kept", tmp_path).folder
    kept = Kept(folder)
    for name, part in PARTS.items():
        kept.parts.write(CELL, name, part)
    return folder


def there(parts: Parts) -> set[str]:
    return {name for name in EVERYTHING if getattr(parts, name)}


def test_what_was_kept_is_read_back(root: Path) -> None:
    kept = Kept(root)
    found = kept.parts.read(CELL)
    assert found.checks == PARTS["checks"]
    assert [part.launch for part in found.launches] == [0, 2, 10]
    assert found.training is not None
    assert found.training.model_dump_json() == TRAINED.model_dump_json()
    assert list(found.references) == [1]
    assert (found.memory, found.exact_curve) == (PARTS["memory"], PARTS["training-curve-float64"])
    assert kept.notes == []
    assert there(kept.parts.read(CELL.model_copy(update={"id": "another"}))) == set()


@pytest.mark.parametrize(
    ("change", "lost", "what"),
    [
        ({"graph_digest": "edited"}, EVERYTHING, "network"),
        ({"weights_digest": "other"}, EVERYTHING, "network"),
        ({"seed": 7}, EVERYTHING, "network"),
        ({"threads": 2}, EVERYTHING, "program"),
        ({"layout": "channels_last"}, {"checks", "launches", "memory"}, "program"),
        ({"batch": 2}, {"checks", "launches", "memory"}, "program"),
        ({"checks": ("local", "exact")}, {"checks"}, "settings"),
        ({"architecture": "file:moved.yaml", "group": "renamed", "key": "other"}, set(), ""),
    ],
)
def test_a_part_of_another_cell_is_measured_again(
    root: Path, change: dict[str, Any], lost: set[str], what: str
) -> None:
    kept = Kept(root)
    assert there(kept.parts.read(CELL.model_copy(update=change))) == EVERYTHING - lost
    assert all(f"is measured again: it was made from another {what}" in note for note in kept.notes)
    assert bool(kept.notes) == bool(lost)
    before = list(kept.notes)
    kept.parts.read(CELL.model_copy(update=change))
    assert kept.notes == before, "each is said once"


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({"latency": {"rounds": 9}}, {"launches"}),
        ({"latency": {"launches": 9}}, set()),
        ({"seed": 3}, set()),  # the cell says which seed it has
    ],
)
def test_settings_count_for_the_parts_that_depend_on_them(root: Path, changes: dict[str, Any], lost: set[str]) -> None:
    assert there(Kept(root, suite(**changes)).parts.read(CELL)) == EVERYTHING - lost


@pytest.mark.parametrize(("field", "value"), [("epochs", 2), ("learning_rate", 0.5), ("envelope_runs", 9)])
def test_training_settings_count_for_training_and_its_references(root: Path, field: str, value: float) -> None:
    other = small_suite("kept", train={**TRAIN, field: value})
    lost = set() if field == "envelope_runs" else {"training", "references", "exact_curve"}
    assert there(Kept(root, other).parts.read(CELL)) == EVERYTHING - lost


def test_another_interpreter_measures_anew(root: Path) -> None:
    assert there(Kept(root, python="/elsewhere/bin/python").parts.read(CELL)) == set()


def test_parts_of_two_versions_of_a_framework_make_no_record(root: Path) -> None:
    """Checks by one and times by the other would say that what was checked was timed."""
    kept = Kept(root, torch="2.14.0")
    assert there(kept.parts.read(CELL)) == set()
    assert all("made from another set of packages" in note for note in kept.notes)


def test_another_version_of_cnnbench_and_of_the_reference_measure_anew(root: Path, monkeypatch) -> None:
    monkeypatch.setattr("cnnbench.numerics.answering_code.code_digest", lambda: "another")
    assert there(Kept(root).parts.read(CELL)) == EVERYTHING - {"checks"}
    monkeypatch.setattr("cnnbench.harness.run.provenance.__version__", "9.9")
    assert there(Kept(root).parts.read(CELL)) == set()


def test_an_edit_of_the_core_measures_anew(root: Path, monkeypatch) -> None:
    """A checkout keeps its version from one commit to the next."""
    monkeypatch.setattr("cnnbench.harness.run.provenance.own_digest", lambda: "of edited files")
    assert there(Kept(root).parts.read(CELL)) == set()


def test_other_files_of_data_train_anew(tmp_path: Path) -> None:
    data, folder = tmp_path / "pictures", RunStore.create("kept", tmp_path).folder
    (data / "test" / "cats").mkdir(parents=True)
    picture = data / "test" / "cats" / "one.png"
    picture.write_bytes(b"one")
    of = small_suite("kept", train={**TRAIN, "data": f"images:{data}"})
    cell = CELL.model_copy(update={"train": True})
    Kept(folder, of).parts.write(cell, "training", TRAINED)
    Kept(folder, of).parts.write(cell, "checks", PARTS["checks"])
    assert there(Kept(folder, of).parts.read(cell)) == {"training", "checks"}
    picture.write_bytes(b"another")
    kept = Kept(folder, of)
    assert there(kept.parts.read(cell)) == {"checks"}
    assert "made from another data" in kept.notes[0]


@pytest.mark.parametrize(
    "text", ["", "{", '{"part": {}}', "\0\0", json.dumps({"made_from": {}, "part": {"losses": 3}})]
)
def test_a_damaged_part_is_measured_again(root: Path, text: str) -> None:
    (root / "cells" / CELL.id / "parts" / "checks.json").write_text(text)
    kept = Kept(root)
    assert there(kept.parts.read(CELL)) == EVERYTHING - {"checks"}
    (note,) = kept.notes
    assert note.startswith(f"{CELL.id}: checks is measured again")
