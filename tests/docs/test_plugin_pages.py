"""docs/backends.md and docs/claims.md: the plugins that they show are written to files, and their commands run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECKED_OUT = os.pathsep.join(str(ROOT / part) for part in (".", "backends"))  # as if it were installed
FILE = re.compile(r"^```(?:yaml|python)\n# (\w+\.(?:yaml|py))\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", ["backends", "claims"])
def test_the_plugin_of_the_page_works(page: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    for name, content in FILE.findall(text):
        (tmp_path / name).write_text(content, encoding="utf-8")
    commands = re.findall(r"^\$ (CNNBENCH_PLUGINS=.*)$", text, re.MULTILINE)
    assert commands
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": CHECKED_OUT}
    for command in commands:
        result = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
