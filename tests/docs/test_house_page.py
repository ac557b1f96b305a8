"""docs/house.md is what docs/write_house.py makes of the modules as they are, and says something of each of them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("write_house", ROOT / "docs" / "write_house.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_fits_the_modules():
    command = [sys.executable, ROOT / "docs" / "write_house.py", "--check"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_every_module_says_what_it_is_for_in_one_sentence(script):
    modules = [*(ROOT / "cnnbench").rglob("*.py"), *(ROOT / "backends").rglob("*.py")]
    short = [path.relative_to(ROOT).as_posix() for path in modules if len(script.first_sentence(path)) < 10]
    assert not short


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("One thing. And more.", "One thing"),
        ("Version 1.2 of it\nover two lines.\n\nMore.", "Version 1.2 of it over two lines"),
        ("``x``. Then.", "``x``"),
        ("a | b.", "a \\| b"),
    ],
)
def test_the_first_sentence_is_read(script, tmp_path, docstring, sentence):
    file = tmp_path / "module.py"
    file.write_text(f'"""{docstring}"""\n')
    assert script.first_sentence(file) == sentence


def test_a_page_without_its_mark_is_refused(script, tmp_path, monkeypatch):
    page = tmp_path / "house.md"
    page.write_text("# Nothing\n")
    monkeypatch.setattr(script, "PAGE", page)
    with pytest.raises(SystemExit, match="has lost the line"):
        script.page()
