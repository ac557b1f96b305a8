"""Rows of long measurements: what was made from anything else is not read back."""

from pathlib import Path

import pytest

from cnnbench.errors import DataError
from cnnbench.measurement import environment
from cnnbench.measurement.installed import computing_digest
from cnnbench.measurement.kept_rows import KeptRows


def test_rows_made_from_something_else_are_left_aside(tmp_path: Path):
    file = tmp_path / "folder" / "rows.jsonl"
    before, after = KeptRows(file, "one"), KeptRows(file, "other")
    assert before.read() == []
    before.append({"number": 1})
    assert after.read() == []
    after.append({"number": 2})
    assert before.read() == [{"number": 1}]
    assert after.read() == [{"number": 2}]
    assert [made_from for made_from, _ in after.of_all()] == ["one", "other"]


def test_a_line_that_was_cut_off_is_made_again_and_a_row_of_unknown_origin_is_refused(tmp_path: Path):
    file = tmp_path / "rows.jsonl"
    rows = KeptRows(file, "one")
    rows.append({"number": 1})
    with file.open("a") as stream:
        stream.write('{"number": 2, "made_')
    assert rows.read() == [{"number": 1}]
    rows.append({"number": 3})
    assert rows.read() == [{"number": 1}, {"number": 3}]
    file.write_text("[1]\n")
    with pytest.raises(DataError, match="no row"):
        rows.read()
    file.write_text('{"number": 1}\n')
    with pytest.raises(DataError, match="what it was made from"):
        rows.read()


@pytest.mark.parametrize("part", ["cnnbench.execution.sources.own_digest", "cnnbench.execution.sources.plugin_digest"])
def test_other_code_makes_other_rows(part: str, monkeypatch: pytest.MonkeyPatch):
    before = computing_digest.__wrapped__()
    assert computing_digest.__wrapped__() == before
    monkeypatch.setattr(part, lambda: "other code")
    assert computing_digest.__wrapped__() != before


def test_other_packages_make_other_rows(monkeypatch: pytest.MonkeyPatch):
    before = computing_digest.__wrapped__()
    assert computing_digest.__wrapped__("pytest") != before
    changed = {**environment.package_versions(), "numpy": "0.1"}
    monkeypatch.setattr(environment, "package_versions", lambda names: changed)
    assert computing_digest.__wrapped__() != before
