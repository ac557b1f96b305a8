"""docs/networks.md, read as a user would: its files are written, its commands are run, their output is compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cnnbench.spec.layers import layer_kinds

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(*languages: str) -> list[str]:
    return [text for language, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if language in languages]


def sessions() -> list[tuple[str, list[str]]]:
    """Each command with the lines of output that the page shows for it."""
    found: list[tuple[str, list[str]]] = []
    for line in "".join(blocks("console")).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Every file of the page, named by the comment in its first line."""
    path = tmp_path_factory.mktemp("page")
    for text in blocks("yaml", "python"):
        name = text.partition("\n")[0].removeprefix("# ")
        assert re.fullmatch(r"\w+\.(yaml|py)", name), f"a block of the page has no file name: {name}"
        (path / name).write_text(text)
    return path


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(folder)}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_page_has_commands_and_files():
    assert len(sessions()) >= 5
    assert len(blocks("yaml", "python")) >= 5


@pytest.mark.parametrize(("command", "expected"), sessions(), ids=lambda value: value if isinstance(value, str) else "")
def test_each_command_prints_what_the_page_shows(command, expected, folder):
    result = run(command, folder)
    assert result.returncode == 0, result.stderr
    output = result.stdout + result.stderr
    assert expected
    for line in expected:
        assert line in output


def test_the_small_vgg_s_facts_follow_from_its_table():
    """3x3 convolutions without bias 3-32-32, 32-64-64, 64-128-128 on maps of 32, 16, 8; a norm after each."""
    convs = [(3, 32, 32), (32, 32, 32), (32, 64, 16), (64, 64, 16), (64, 128, 8), (128, 128, 8)]
    channels = sum(out for _, out, _ in convs)
    parameters = sum(9 * i * o for i, o, _ in convs) + 2 * channels + 1290
    macs = sum(9 * i * o * side**2 for i, o, side in convs) + 1280
    text = PAGE.read_text(encoding="utf-8")
    assert f"Facts(parameters={parameters:_}, buffers={2 * channels}, macs={macs:_}, input=(3, 32, 32))" in text


def test_every_kind_that_the_page_uses_exists():
    used = set(re.findall(r"kind: (\w+)", "".join(blocks("yaml"))))
    assert used - {"conv_norm_relu"} <= set(layer_kinds())
