"""The README read as a user would: its networks are built and checked, its test file collects tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cnnbench import hookspecs

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHECKED_OUT = os.pathsep.join(str(ROOT / part) for part in (".", "backends"))  # as if it were installed
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    _, found, rest = README.partition(f"\n### {title}\n")
    assert found, f"the README has no section {title!r}"
    return re.split(r"^##+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def blocks(title: str, language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(section(title)) if found == language]


COMMANDS = [line[2:] for text in blocks("Add a network", "console") for line in text.splitlines()]


def written_onnx(path: Path) -> None:
    """The network of the section as an exporter would write it."""
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(0)
    shapes = {"w": (16, 3, 3, 3), "b": (16,), "v": (10, 16), "c": (10,)}
    weights = [numpy_helper.from_array(generator.normal(size=s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["x"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("GlobalAveragePool", ["y"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "v", "c"], ["logits"], transB=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 32, 32])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])
    graph = helper.make_graph(nodes, "tiny", [image], [logits], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("readme")
    for language in ("yaml", "python"):
        for text in blocks("Add a network", language):
            (path / text.partition("\n")[0].removeprefix("# ")).write_text(text)
    written_onnx(path / "tiny.onnx")
    return path


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": CHECKED_OUT}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def test_the_first_screen_has_two_commands():
    first = README.splitlines()[:12]
    assert [line.split("#")[0].strip() for line in first if line.startswith("$ ")] == ["$ make run", "$ make test"]


def test_every_hook_has_a_row_and_no_row_a_count_that_grows_old():
    """Counts of what is shipped are for ``cnnbench list``; the README names things."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section("Hooks").splitlines()]
    shipped = {row[0].strip("`"): row[-1] for row in rows if row[0].startswith("`cnnbench_")}
    assert set(shipped) == {name for name in vars(hookspecs) if name.startswith("cnnbench_")}
    assert not [text for text in shipped.values() if re.match(r"\d", text)]


def test_the_section_shows_yaml_python_and_onnx():
    assert {command.split(" -b")[0].rpartition(" ")[2] for command in COMMANDS if "verify" in command} == {
        "tiny.yaml",
        "tiny",
        "tiny.onnx",
        "nets.py:tiny",
    }


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("command", [command for command in COMMANDS if "verify" in command])
def test_each_network_of_the_readme_is_the_same_on_two_backends(command, folder):
    pytest.importorskip("torch", reason="the command needs torch")
    result = run(command, folder)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_weights_of_the_readme_are_made_imported_and_shown(folder):
    commands = [command for command in COMMANDS if " weights " in command]
    assert len(commands) == 3
    result = run(" && ".join(commands), folder)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 arrays, 618 values" in result.stdout


def test_the_network_of_the_plugin_has_the_facts_that_it_declares(folder):
    result = run("CNNBENCH_PLUGINS=my_networks cnnbench show tiny", folder)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "parameters: 618" in result.stdout
    assert "MACs: 442,528" in result.stdout


def test_the_test_file_of_a_backend_collects_tests(tmp_path):
    (snippet,) = blocks("Add a backend", "python")
    assert snippet.count('"mybackend"') == 1
    (tmp_path / "test_backend.py").write_text(snippet.replace("mybackend", "numpy"))
    result = run(f"{sys.executable} -m pytest -q --collect-only -p no:cacheprovider test_backend.py", tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(re.search(r"(\d+)(?:/\d+)? tests? collected", result.stdout)[1]) > 100
