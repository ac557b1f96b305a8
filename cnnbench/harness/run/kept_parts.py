"""What passes found of cells, kept in the run's folder until the cell's record is complete."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from cnnbench.errors import DataError
from cnnbench.harness.passes.findings import ChecksPart, CurvePart, LaunchPart, MemoryPart, Part, Parts, TrainingPart
from cnnbench.harness.passes.reference_curves import CURVE, REFERENCE
from cnnbench.harness.run.files import first_problem, read_model, to_json, write_atomically
from cnnbench.harness.run.provenance import MadeFrom, differences
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.cell import Cell
from cnnbench.spec.frozen import Frozen

_Part = TypeVar("_Part", ChecksPart, LaunchPart, MemoryPart, TrainingPart, CurvePart)


class _Kept(Frozen):
    """A part, as plain data, with what it was made from."""

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
        kept = _Kept(made_from=dict(self._made_from(cell, type(part))), part=part.model_dump(mode="json"))
        write_atomically(self._folder(cell) / f"{name}.json", to_json(kept))

    def read(self, cell: Cell) -> Parts:
        """Everything that is kept of a cell."""
        folder = self._folder(cell)
        names = {path.stem for path in folder.glob("*.json")} if folder.is_dir() else set()

        def one(name: str, model: type[_Part]) -> _Part | None:
            return self._read(cell, name, model) if name in names else None

        def numbered(prefix: str, model: type[_Part]) -> Mapping[int, _Part]:
            numbers = sorted(int(m[1]) for name in names if (m := re.fullmatch(f"{prefix}([0-9]+)", name)))
            found = ((number, one(f"{prefix}{number}", model)) for number in numbers)
            return {number: part for number, part in found if part is not None}

        return Parts(
            checks=one("checks", ChecksPart),
            launches=tuple(numbered("launch-", LaunchPart).values()),
            memory=one("memory", MemoryPart),
            training=one("training", TrainingPart),
            references=numbered(REFERENCE, CurvePart),
            exact_curve=one(CURVE, CurvePart),
        )

    def _read(self, cell: Cell, name: str, model: type[_Part]) -> _Part | None:
        path = self._folder(cell) / f"{name}.json"
        try:
            kept = read_model(path, _Kept)
            differing = differences(kept.made_from, self._made_from(cell, model))
            if not differing:
                return model.model_validate_json(json.dumps(kept.part))
            reason = f"it was made from another {differing[0]}"
        except DataError as error:
            reason = str(error)
        except ValidationError as error:
            reason = f"the file cannot be read: {first_problem(error)} ({path})"
        sentence = f"{cell.id}: {name} is measured again: {reason}"
        if sentence not in self._noted:
            self._noted.add(sentence)
            self._note(sentence)
        return None

    def _folder(self, cell: Cell) -> Path:
        return self._store.cell_folder(cell.id) / "parts"
