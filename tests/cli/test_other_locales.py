"""In a locale without UTF-8 files hold the same, digests are the same, and output has replacements."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_suite import small_suite
from source import files

NAME = "en_US.ISO-8859-1"
NETWORK = """\
name: größe_–
inputs: [{name: image, shape: [1, 8, 8]}]
nodes:
  - {name: flat, kind: flatten}
  - {name: fc, kind: linear, out_features: 4}
"""


@pytest.fixture(scope="module")
def latin_1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of a Latin-1 locale, compiled here."""
    folder = tmp_path_factory.mktemp("locales")
    if shutil.which("localedef") is None:
        pytest.skip("localedef is not installed")
    made = subprocess.run(
        ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(folder / NAME)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no Latin-1 locale can be made: {made.stderr!r}")
    return {"LOCPATH": str(folder), "LC_ALL": NAME, "PYTHONUTF8": "0"}


def ask(folder: Path, line: str, variables: dict[str, str]) -> bytes:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONIO"))}
    done = subprocess.run(
        [sys.executable, "-m", "cnnbench", *line.split()],
        cwd=folder, env=own | variables, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 5), done.stderr
    assert b"Traceback" not in done.stderr
    return done.stdout


def test_a_run_in_latin_1_is_the_same_run(tmp_path: Path, latin_1: dict[str, str]) -> None:
    (tmp_path / "net.yaml").write_text(NETWORK, encoding="utf-8")
    suite = small_suite("sizes").model_dump(mode="json", exclude_none=True)
    suite |= {"name": "sizes", "description": "Größe – ×", "checks": {"names": ["end_to_end"]}}
    suite["matrix"] = {"architectures": ["file:net.yaml"], "backends": ["numpy"]}
    (tmp_path / "s.yaml").write_text(json.dumps(suite, ensure_ascii=False), encoding="utf-8")
    utf_8 = {"LC_ALL": "C.UTF-8"}

    plans = [json.loads(ask(tmp_path, "plan s.yaml --json", where)) for where in (utf_8, latin_1)]
    assert plans[0] == plans[1]
    assert plans[0]["suite"]["description"] == "Größe – ×"

    shown = ask(tmp_path, "run s.yaml --no-mlflow", latin_1).decode("latin-1")
    assert "–" not in shown
    assert "?" in shown
    bundles = [ask(tmp_path, "bundle sizes -o run.zip", where).splitlines()[1] for where in (utf_8, latin_1)]
    assert bundles[0] == bundles[1]
    for line in ("compare sizes", "gate sizes --base sizes", "report sizes", "list runs"):
        ask(tmp_path, line, latin_1)
    (report,) = tmp_path.glob("reports/runs/*/*/report.md")
    assert "–" in report.read_text(encoding="utf-8")


def test_names_that_the_locale_has_not_are_one_message(tmp_path: Path, latin_1: dict[str, str]) -> None:
    (tmp_path / "s.yaml").write_text(
        "schema_version: 1\nname: s\nmatrix: {architectures: ['file:n–t.yaml'], backends: [numpy]}\n", encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-m", "cnnbench", "plan", "s.yaml"],
        cwd=tmp_path, env={**os.environ, **latin_1}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "n\\u2013t.yaml" in done.stderr
    assert "LC_ALL=C.UTF-8" in done.stderr
    assert "Traceback" not in done.stderr


def _texts_without_encoding() -> Iterator[str]:
    for name, path in files().items():
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and _is_text(call) and "encoding" not in {item.arg for item in call.keywords}:
                yield f"{name}:{call.lineno}: {ast.unparse(call)[:80]}"


def _is_text(call: ast.Call) -> bool:
    function = call.func
    called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    named = {item.arg for item in call.keywords}
    if called in ("read_text", "write_text"):
        return True
    if called in ("run", "Popen", "check_output"):
        return bool({"text", "universal_newlines"} & named)
    owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
    if called not in ("open", "fdopen") or (called == "open" and owner in NO_TEXT):
        return False
    modes = [item.value for item in call.args if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    modes += [item.value.value for item in call.keywords if item.arg == "mode" and isinstance(item.value, ast.Constant)]
    return not any("b" in mode for mode in modes)


NO_TEXT = (
    "os", "RunStore", "archive", "Image", "webbrowser", "tarfile", "zipfile",
    "subject", "memoizing", "self._opens", "self._subject", "InProcessSubject(state.loaded)",  # sessions of programs
)  # fmt: skip


def test_no_text_is_read_or_written_in_the_locale_s_encoding() -> None:
    assert list(_texts_without_encoding()) == []
