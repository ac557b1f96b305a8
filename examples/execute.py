"""Runs the notebooks of this folder and writes them back with their outputs, free of this machine's names and paths."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
TIMEOUT_S = 300


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a run in its own folder. Raises CellExecutionError where a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": str(path.parent)}}).execute()
    return notebook


def scrubbed(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without what only this machine and moment have: warnings on stderr, times, versions, paths."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [item for item in cell.outputs if item.get("name") != "stderr"]
    return notebook


def secrets(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """What names this machine in a notebook's outputs: its host, a home, a temporary or a working folder."""
    words = [re.escape(word) for word in (socket.gethostname(), str(Path.home()), gettempdir(), str(HERE.parent))]
    pattern = re.compile("|".join(rf"{word}\b" for word in words if len(word) > 3))
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = [str(value) for kind, value in output.get("data", {}).items() if not kind.startswith("image/")]
            texts = [output.get("text", ""), *data]
            yield from (match.group() for text in texts for match in pattern.finditer(text))


def main() -> None:
    """Executes the notebooks that are named, or all of them."""
    for path in map(Path, sys.argv[1:] or sorted(map(str, HERE.glob("*.ipynb")))):
        notebook = scrubbed(executed(path))
        if found := sorted(set(secrets(notebook))):
            sys.exit(f"{path}: an output names this machine: {', '.join(found)}")
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
