"""docs/suites.md, docs/command-line.md and the workflow: what they name exists, and what exists is named."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

from cnnbench.cli.application import application
from cnnbench.cli.entry import execute
from cnnbench.harness.run.exit_codes import MEANING
from cnnbench.harness.suite import matrix, recipes
from cnnbench.harness.suite import model as suite
from cnnbench.spec.interchange.yaml_source import read_yaml_text

ROOT = Path(__file__).parents[2]
SUITES = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")
COMMANDS = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
WORKFLOW = (ROOT / ".github" / "workflows" / "cnnbench.yml").read_text(encoding="utf-8")


def quoted(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", text))


def models() -> list[type[BaseModel]]:
    found = {
        item
        for module in (suite, matrix, recipes)
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, BaseModel) and item.__module__ == module.__name__
    }
    return sorted(found - {recipes.Component}, key=lambda item: item.__name__)


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_every_key_of_a_suite_is_described(model: type[BaseModel]) -> None:
    assert set(model.model_fields) <= quoted(SUITES)


def test_the_example_is_a_suite_and_its_error_is_what_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example, _ = re.findall(r"^```yaml\n(.*?)^```$", SUITES, re.DOTALL | re.MULTILINE)
    path = tmp_path / "example.yaml"
    path.write_text(example)
    assert execute(["plan", str(path)]) == 0
    assert "resnet20-torch-compile-b64" in capsys.readouterr().out
    shown = re.search(r"error: suites/example.yaml:(\d+):.*? in matrix.0\n.*?'batch'\?", SUITES, re.DOTALL)
    assert shown is not None
    path.write_text(example.replace("batch: [1, 8]", "bacth: [1, 8]"))
    assert execute(["plan", str(path)]) == 2
    assert capsys.readouterr().err.replace(str(path), "suites/example.yaml").strip() == shown.group(0)


def test_the_recipes_of_the_example_have_the_names_that_the_text_says() -> None:
    _, example = re.findall(r"^```yaml\n(.*?)^```$", SUITES, re.DOTALL | re.MULTILINE)
    found = recipes.Train.model_validate(read_yaml_text(example, "docs/suites.md").data["train"])
    assert [way.name for way in found.trainings()] == re.findall(r"`([\w-]+)`", SUITES.split("five ways to train:")[1])[
        :5
    ]


@pytest.mark.parametrize("line", re.findall(r"^\$ cnnbench (plan .*)$", SUITES, re.MULTILINE))
def test_the_commands_about_suites_work(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert execute(shlex.split(line)) == 0


def test_the_commands_about_predictions_and_checks_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros((1, 1, 32, 32), np.float32))
    lines = re.findall(r"^\$ cnnbench (.*)$", COMMANDS, re.MULTILINE)
    codes = {line: execute(shlex.split(line)) for line in lines}
    assert len(codes) == 6
    assert {code for line, code in codes.items() if "--fault" not in line} == {0}
    assert {code for line, code in codes.items() if "--fault" in line} == {4}
    assert Path("y.conv1.npy").exists()


def names() -> set[str]:
    """Every command by its name."""
    commands = {item.name for item in application.registered_commands}
    return {str(name) for name in commands | {item.name for item in application.registered_groups}}


def test_every_command_is_described_and_none_besides() -> None:
    cells = re.findall(r"^\| (`[^|]+) \|", COMMANDS.partition("## Options")[0], re.MULTILINE)
    assert {text.split()[0] for cell in cells for text in quoted(cell)} == names()


def test_every_exit_code_is_described() -> None:
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", COMMANDS, re.MULTILINE)} == set(MEANING)


def test_the_workflow_uses_what_there_is() -> None:
    from cnnbench.spec.interchange.yaml_source import read_yaml_text

    steps = read_yaml_text(WORKFLOW).data["jobs"]["gate"]["steps"]
    lines = [line.strip() for step in steps for line in step.get("run", "").splitlines()]
    used = [shlex.split(line)[1:] for line in lines if line.startswith("cnnbench ")]
    assert [words[0] for words in used] == ["ab"]
    assert all((ROOT / word).is_file() for words in used for word in words if word.startswith("suites/"))
