"""The notebooks of examples/: they run from top to bottom, and what is committed is what a run gives."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
spec = importlib.util.spec_from_file_location("execute", EXAMPLES / "execute.py")
assert spec is not None
assert spec.loader is not None
execute = importlib.util.module_from_spec(spec)
spec.loader.exec_module(execute)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_two() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["compare_backends", "find_a_fault"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_as_it_was_executed_and_names_no_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert not list(execute.secrets(notebook))
    assert "/tmp" not in path.read_text(encoding="utf-8")
    assert notebook.cells[0].source.startswith("# ")


def run(path: Path) -> nbformat.NotebookNode:
    """Executed again: as many outputs of the same kinds as were committed."""
    again = execute.scrubbed(execute.executed(path))
    for fresh, kept in zip(code_cells(again), code_cells(nbformat.read(path, as_version=4)), strict=True):
        kinds = [[sorted(output.get("data", {})) for output in cell.outputs] for cell in (fresh, kept)]
        assert kinds[0] == kinds[1], fresh.source
    return again


@pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")
def test_the_fault_is_found_again() -> None:
    (last,) = code_cells(run(EXAMPLES / "find_a_fault.ipynb"))[-1].outputs
    assert last.text == "batch_norm.biased_running_variance: failed\nno fault: passed\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")
def test_the_backends_are_compared_again() -> None:
    run(EXAMPLES / "compare_backends.ipynb")


def test_what_names_this_machine_is_found() -> None:
    """The test above could not fail if nothing were found."""
    home = str(Path.home() / "x")
    output = nbformat.v4.new_output("stream", text=f"in {home}\n")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[output])])
    assert list(execute.secrets(notebook)) == [str(Path.home())]
