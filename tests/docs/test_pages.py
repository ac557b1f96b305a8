"""The pages on adding networks and layers, read as a user would: files are written, commands run, output compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cnnbench.spec.kinds import layer_kinds

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = ("networks", "layers")
NEEDS = ("torch", "jax", "tensorflow")
CHECKED_OUT = os.pathsep.join(str(ROOT / part) for part in (".", "backends"))  # as if it were installed
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def blocks(name: str, *languages: str) -> list[str]:
    return [text for language, text in BLOCK.findall(page(name)) if language in languages]


def sessions() -> list[tuple[str, str, list[str]]]:
    """(page, command, the lines of output that the page shows for it)."""
    found: list[tuple[str, str, list[str]]] = []
    for name in PAGES:
        for line in "".join(blocks(name, "console")).splitlines():
            if line.startswith("$ "):
                found.append((name, line[2:], []))
            else:
                found[-1][2].append(line)
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """For each page a folder with its files, each named by the comment in its first line."""
    paths = {name: tmp_path_factory.mktemp(name) for name in PAGES}
    for name, path in paths.items():
        for text in blocks(name, "yaml", "python"):
            file = text.partition("\n")[0].removeprefix("# ")
            assert re.fullmatch(r"\w+\.(yaml|py)", file), f"a block of the page has no file name: {file}"
            (path / file).write_text(text)
    return paths


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": CHECKED_OUT}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("name", PAGES)
def test_the_page_has_commands_and_files(name):
    assert len([session for session in sessions() if session[0] == name]) >= 4
    assert len(blocks(name, "yaml", "python")) >= 4


@pytest.mark.parametrize(
    ("name", "command", "expected"), sessions(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_command_works_and_prints_what_the_page_shows(name, command, expected, folders):
    for framework in NEEDS:
        if f"-b {framework}" in command:
            pytest.importorskip(framework, reason=f"the command needs {framework}")
    result = run(command, folders[name])
    assert result.returncode == 0, result.stdout + result.stderr
    output = result.stdout + result.stderr
    for line in expected:
        assert line in output


def test_the_small_vgg_s_facts_follow_from_its_table():
    """3x3 convolutions without bias 3-32-32, 32-64-64, 64-128-128 on maps of 32, 16, 8; a norm after each."""
    convs = [(3, 32, 32), (32, 32, 32), (32, 64, 16), (64, 64, 16), (64, 128, 8), (128, 128, 8)]
    channels = sum(out for _, out, _ in convs)
    parameters = sum(9 * i * o for i, o, _ in convs) + 2 * channels + 1290
    macs = sum(9 * i * o * side**2 for i, o, side in convs) + 1280
    text = page("networks")
    assert f"Facts(parameters={parameters:_}, buffers={2 * channels}, macs={macs:_}, input=(3, 32, 32))" in text


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.stem)
def test_an_example_stands_before_the_theory(path):
    """Commands, code or a table, after six lines of text at most."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert any(line.startswith(("```", "|")) for line in lines[:7])


def test_every_kind_that_the_page_uses_exists():
    used = set(re.findall(r"kind: (\w+)", "".join(blocks("networks", "yaml"))))
    assert used - {"conv_norm_relu"} <= set(layer_kinds())
