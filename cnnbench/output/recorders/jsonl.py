"""Appends every record to ``records.jsonl`` in the run's folder, one cell a line, for programs that follow a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnnbench.harness.run.extensions import FinishedRun, StartedRun
    from cnnbench.harness.run.record import Record

FILE = "records.jsonl"


class JsonlRecorder:
    """Adds a line as soon as a cell is done; when the run ends, the file holds every cell once, in the plan's order."""

    def started(self, run: StartedRun) -> None:
        (run.folder / FILE).write_text("", encoding="utf-8")

    def recorded(self, record: Record, folder: Path) -> None:
        with (_run_folder(folder) / FILE).open("a", encoding="utf-8") as file:
            file.write(record.model_dump_json() + "\n")

    def finished(self, run: FinishedRun) -> Mapping[str, str]:
        from cnnbench.harness.run.files import write_atomically

        write_atomically(run.folder / FILE, "".join(record.model_dump_json() + "\n" for record in run.records))
        return {}


def _run_folder(folder: Path) -> Path:
    """The run's folder from that of a cell in it, ``<run>/cells/<id>``, or itself."""
    return folder.parent.parent if folder.parent.name == "cells" else folder
