"""What passes found of cells, kept in the run's folder until the cell's record is complete."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from cnnbench.errors import DataError
from cnnbench.harness.passes.findings import ChecksPart, CurvePart, LaunchPart, MemoryPart, Part, Parts, TrainingPart
from cnnbench.harness.run.files import first_problem, read_model, to_json, write_atomically
from cnnbench.harness.run.provenance import MadeFrom, differences
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.cell import Cell
from cnnbench.spec.frozen import Frozen

_Part = TypeVar("_Part", ChecksPart, LaunchPart, MemoryPart, TrainingPart, CurvePart)
KINDS: dict[str, type[Part]] = {
    kind.__name__: kind for kind in (ChecksPart, LaunchPart, MemoryPart, TrainingPart, CurvePart)
}


class _Kept(Frozen):
    """A part, as plain data, with its class and what it was made from."""

    kind: Literal["ChecksPart", "LaunchPart", "MemoryPart", "TrainingPart", "CurvePart"]
    made_from: dict[str, str]
    part: dict[str, Any]


class KeptParts:
    """Parts of cells, each a file that says what it was made from.

    A part that was made from something else, or cannot be read, counts as not there, and a sentence says so.

    Args:
        store: The run's folder.
        made_from: What a part of a cell is made from today.
        note: Takes a sentence for the summary.
    """

    def __init__(
        self, store: RunStore, made_from: Callable[[Cell, type[Part]], MadeFrom], note: Callable[[str], None]
    ) -> None:
        self._store = store
        self._made_from = made_from
        self._note = note
        self._noted: set[str] = set()

    def write(self, cell: Cell, name: str, part: Part) -> None:
        """Keeps a part.

        Args:
            cell: Whose part it is.
            name: The stem of its file.
            part: What a pass found.
        """
        content = part.model_dump(mode="json")
        kept = {"kind": type(part).__name__, "made_from": dict(self._made_from(cell, type(part))), "part": content}
        write_atomically(self._folder(cell) / f"{name}.json", to_json(_Kept.model_validate(kept)))

    def read(self, cell: Cell) -> Parts:
        """Everything that is kept of a cell."""
        kept = (self._read(cell, path) for path in sorted(self._folder(cell).glob("*.json")))
        parts = [part for part in kept if part is not None]

        def of(kind: type[_Part]) -> list[_Part]:
            return [part for part in parts if isinstance(part, kind)]

        curves = of(CurvePart)
        return Parts(
            checks=next(iter(of(ChecksPart)), None),
            launches=tuple(sorted(of(LaunchPart), key=lambda part: part.launch)),
            memory=next(iter(of(MemoryPart)), None),
            training=next(iter(of(TrainingPart)), None),
            references={part.number: part for part in curves if part.number is not None},
            exact_curve=next((part for part in curves if part.number is None), None),
        )

    def _read(self, cell: Cell, path: Path) -> Part | None:
        try:
            kept = read_model(path, _Kept)
            kind = KINDS[kept.kind]
            differing = differences(kept.made_from, self._made_from(cell, kind))
            if not differing:
                return kind.model_validate_json(json.dumps(kept.part))
            reason = f"it was made from another {differing[0]}"
        except DataError as error:
            reason = str(error)
        except ValidationError as error:
            reason = f"the file cannot be read: {first_problem(error)} ({path})"
        sentence = f"{cell.id}: {path.stem} is measured again: {reason}"
        if sentence not in self._noted:
            self._noted.add(sentence)
            self._note(sentence)
        return None

    def _folder(self, cell: Cell) -> Path:
        return self._store.cell_folder(cell.id) / "parts"
