"""The suites that ship are found by name from any folder, and are in the wheel."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import cnnbench
from cnnbench.errors import SuiteError
from cnnbench.harness.suite.shipped import shipped_suites, suite_file

ROOT = Path(__file__).parents[3]
FILES = {path.stem: path for path in (ROOT / "suites").glob("*.yaml")}


def test_every_suite_of_the_repository_ships() -> None:
    assert FILES
    assert shipped_suites().keys() == FILES.keys()


def test_a_suite_is_planned_by_its_name_from_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    named, filed = cnnbench.plan("lenet"), cnnbench.plan(ROOT / "suites" / "lenet.yaml")
    assert named == filed
    assert list(tmp_path.iterdir()) == []


def test_a_file_stands_before_a_suite_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert suite_file("resnet") == shipped_suites()["resnet"]
    (tmp_path / "resnet").mkdir()
    assert suite_file("resnet") == shipped_suites()["resnet"]
    (tmp_path / "vgg").write_text("", encoding="utf-8")
    assert suite_file("vgg") == Path("vgg")
    assert suite_file("mine/resnet.yaml.txt") == Path("mine/resnet.yaml.txt")


@pytest.mark.parametrize(
    ("name", "words"), [("resne", "did you mean 'resnet'"), ("suites/resnet.yaml", "run by its name: resnet")]
)
def test_what_is_no_suite_names_the_nearest(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SuiteError, match=words):
        suite_file(name)


@pytest.mark.slow
def test_the_wheel_lists_and_plans_its_suites(tmp_path: Path) -> None:
    """Built, unpacked beside nothing else of the repository, and asked from an empty folder."""
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path / "wheel"), str(ROOT)]
    built = subprocess.run(pip, capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(f"no wheel can be built here: {built.stderr.strip().splitlines()[-1]}")
    (wheel,) = (tmp_path / "wheel").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    (tmp_path / "empty").mkdir()
    for line, words in (("list suites", "resnet"), ("plan lenet -b numpy", "6 cells")):
        done = subprocess.run(
            [sys.executable, "-m", "cnnbench", *line.split()], cwd=tmp_path / "empty", capture_output=True, text=True,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path / "installed")}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert words in done.stdout


SUITES_OF_OTHERS = [("segmentation", 56, 4), ("pose", 64, 14), ("detection", 64, 3)]


@pytest.mark.parametrize(("name", "side", "classes"), SUITES_OF_OTHERS)
def test_suites_of_other_networks_than_classifiers_train_on_every_backend(name: str, side: int, classes: int) -> None:
    cells = cnnbench.plan(name).cells
    assert [cell.backend for cell in cells] == ["numpy", "torch", "jax", "tensorflow"]
    assert all(cell.train and cell.image == (3, side, side) and cell.num_classes == classes for cell in cells)


def test_translations_are_trained_by_their_program_on_every_backend() -> None:
    cells = cnnbench.plan("cyclegan").cells
    assert [(cell.backend, cell.program) for cell in cells] == [
        (backend, "cyclegan_tiny") for backend in ("numpy", "torch", "jax", "tensorflow")
    ]
    assert all(cell.train and "program" in cell.checks for cell in cells)
