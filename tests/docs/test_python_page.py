"""docs/python.md: its examples run, one after the other, and it names every function and every column."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

import cnnbench
from cnnbench.output import frame_columns as columns

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
QUOTED = set(re.findall(r"`([^`\n]+)`", PAGE))


@pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")
def test_the_examples_run_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "suites", tmp_path / "suites")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    shorter = "quick=True, expression='lenet5', overrides=['checks=[local]', 'train=null']"
    for text in EXAMPLES:
        given = text.replace("quick=True, recorders=()", "quick=True").replace("quick=True", f"recorders=(), {shorter}")
        exec(compile(given, "python.md", "exec"), names)
    assert names["prediction"].output.shape == (2, 10)
    assert names["prediction"].nodes["conv1"].shape == (2, 16, 32, 32)
    assert len(names["history"]) == 2
    assert {"network", "backend", "latency_median_s"} <= set(cnnbench.results("smoke").columns)


def test_every_function_is_named() -> None:
    functions = {name for name in cnnbench._HOME if name[0].islower()}
    assert {name for name in functions if not re.search(rf"\b{name}\b", PAGE)} == set()


@pytest.mark.parametrize("frame", ["CELL", "RESULTS", "SAMPLES", "CHECKS", "NODES", "AGREEMENTS", "VERDICTS"])
def test_every_column_is_described(frame: str) -> None:
    assert set(getattr(columns, frame)) - QUOTED == set()
