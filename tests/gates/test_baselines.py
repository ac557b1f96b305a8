"""Baseline files: what goes in comes out, and damage is told clearly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_run import synthetic_run

from cnnbench.errors import DataError
from cnnbench.gates.baselines import baseline_path, load_baseline, save_baseline, snapshot
from cnnbench.gates.verdicts import gate


def test_a_baseline_comes_back_as_it_was(tmp_path: Path) -> None:
    value = snapshot(synthetic_run(), reason="first figures")
    path = save_baseline(value, baseline_path("synthetic", tmp_path))

    assert path == tmp_path / "synthetic.json"
    assert load_baseline(path) == value
    assert gate(value, load_baseline(path)).exit_code == 0
    assert [child.name for child in tmp_path.iterdir()] == ["synthetic.json"]


def test_each_cell_has_a_line_of_its_own(tmp_path: Path) -> None:
    value = snapshot(synthetic_run())
    text = save_baseline(value, tmp_path / "b.json").read_text()

    assert sum('"median_s"' in line for line in text.splitlines()) == sum(bool(cell.rounds) for cell in value.cells)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not an object"),
        ('{"suite": "x"}', "version is unknown"),
        ('{"schema_version": 99}', "version is unknown"),
    ],
)
def test_a_damaged_baseline_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(content)

    with pytest.raises(DataError, match=message) as caught:
        load_baseline(path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy


def test_a_wrong_value_is_named_with_its_place(tmp_path: Path) -> None:
    path = save_baseline(snapshot(synthetic_run()), tmp_path / "b.json")
    content = json.loads(path.read_text())
    content["cells"][0]["rounds"][0]["median_s"] = -1
    path.write_text(json.dumps(content))

    with pytest.raises(DataError, match="damaged") as caught:
        load_baseline(path)
    assert "cells.0.rounds.0.median_s" in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("peak_bytes",), -1),
        (("device_peak_bytes",), -1),
        (("test_accuracy",), 1.5),
        (("rounds", 0, "launch"), -1),
        (("rounds", 0, "round"), -1),
        (("rounds", 0, "samples"), 0),
    ],
    ids=str,
)
def test_a_figure_that_nothing_can_have_is_no_figure(
    tmp_path: Path, place: tuple[str | int, ...], value: float
) -> None:
    path = save_baseline(snapshot(synthetic_run()), tmp_path / "b.json")
    content = json.loads(path.read_text())
    holder = next(cell for cell in content["cells"] if cell.get("rounds"))
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="damaged"):
        load_baseline(path)


def test_a_round_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = save_baseline(snapshot(synthetic_run()), tmp_path / "b.json")
    content = json.loads(path.read_text())
    cell = next(cell for cell in content["cells"] if cell.get("rounds"))
    cell["rounds"].append(cell["rounds"][0])
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="a round twice"):
        load_baseline(path)


def test_an_absent_baseline_says_how_to_set_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no baseline") as caught:
        load_baseline(tmp_path / "none.json")
    assert "baseline set" in str(caught.value)


def test_a_run_in_which_nothing_worked_is_no_baseline(tmp_path: Path) -> None:
    value = snapshot(synthetic_run())
    broken = value.model_copy(
        update={"cells": tuple(cell.model_copy(update={"status": "crashed"}) for cell in value.cells)}
    )

    with pytest.raises(DataError, match="cannot be a baseline"):
        save_baseline(broken, tmp_path / "b.json")
    assert not (tmp_path / "b.json").exists()
