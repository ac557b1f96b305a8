"""``cnnbench plan`` and ``list``: tables for people, JSON for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cnnbench.cli.entry import execute

ROOT = Path(__file__).parents[2]
SUITE = """\
schema_version: 1
name: two
matrix: {architectures: [lenet5, resnet20], backends: [{name: numpy, mode: reference}], batch: [1, 8]}
"""


@pytest.fixture
def suite(tmp_path: Path) -> str:
    path = tmp_path / "two.yaml"
    path.write_text(SUITE)
    return str(path)


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str):
    assert execute([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_the_plan_in_json(capsys: pytest.CaptureFixture[str], suite: str) -> None:
    data = as_json(capsys, "plan", suite, "--seed", "3", "--set", "matrix.batch=[2]")
    assert [(cell["architecture"], cell["batch"], cell["seed"]) for cell in data["cells"]] == [
        ("lenet5", 2, 3),
        ("resnet20", 2, 3),
    ]


def test_the_options_narrow_the_plan(capsys: pytest.CaptureFixture[str], suite: str) -> None:
    assert len(as_json(capsys, "plan", suite)["cells"]) == 4
    assert len(as_json(capsys, "plan", suite, "-k", "lenet5 and not b8")["cells"]) == 1
    assert len(as_json(capsys, "plan", suite, "--quick")["cells"]) == 2
    assert len(as_json(capsys, "plan", suite, "--shard", "2/4")["cells"]) == 1
    assert as_json(capsys, "plan", suite, "--threads", "2")["cells"][0]["threads"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shard", "5/4"], "the shard is not valid"),
        (["-k", "a and"], "-k"),
        (["-b", "torhc"], "-b"),
        (["--set", "matrix.bach=1"], "did you mean 'batch'?"),
    ],
)
def test_wrong_options_end_with_2(
    capsys: pytest.CaptureFixture[str], suite: str, arguments: list[str], message: str
) -> None:
    assert execute(["plan", suite, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_suite_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["plan", "nowhere.yaml"]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["architectures", "backends", "layers", "datasets", "programs", "faults"])
def test_lists(capsys: pytest.CaptureFixture[str], what: str) -> None:
    rows = as_json(capsys, "list", what)
    assert len({row.get("name") or row["kind"] for row in rows}) == len(rows) > 3
    assert execute(["list", what]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(rows) + 2


def test_suites_are_listed_with_what_is_wrong_with_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(SUITE)
    (tmp_path / "bad.yaml").write_text(SUITE.replace("name", "nname"))
    rows = as_json(capsys, "list", "suites", str(tmp_path))
    assert [row["name"] for row in rows] == [None, "two"]
    assert "unknown key 'nname'" in rows[0]["error"]


@pytest.mark.parametrize("path", sorted((ROOT / "suites").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_suites_load_and_say_where_their_schema_is(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = path.read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.partition("=")[2]).resolve().is_file()
    data = as_json(capsys, "plan", str(path))
    assert data["suite"]["name"] == path.stem
    assert data["suite"]["description"]


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    report = as_json(capsys, "doctor")
    assert {"cnnbench", "python", "platform"} <= set(report["system"])
    assert {row["name"] for row in report["backends"]} >= {"numpy", "torch", "jax", "tensorflow"}
    assert any(row["plugin"] == "cnnbench.builtin" for row in report["plugins"])
