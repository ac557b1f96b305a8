"""What a kept part of a cell was made from, as named digests: a part that was made from anything else is not used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cnnbench.errors import DataError
from cnnbench.execution.sources import own_digest, plugin_digest
from cnnbench.harness.passes.findings import ChecksPart, CurvePart, LaunchPart, Part, TrainingPart
from cnnbench.harness.run.record import Record
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.recipes import NOT_OF_A_TRAINING
from cnnbench.harness.suite.trainings import loop_settings, training_data
from cnnbench.spec.content import content_digest
from cnnbench.training.data import dataset
from cnnbench.training.programs.offered import training_program_digest
from cnnbench.version import __version__

TRAINING = (TrainingPart, CurvePart)

MadeFrom = Mapping[str, str]
"""By what it is: network, program, settings, interpreter, packages, cnnbench, the code of plugins, files of data."""


@dataclass(frozen=True)
class Installation:
    """What measures a side's cells. Args: python: its interpreter. distributions: their versions by name."""

    python: str
    distributions: Mapping[str, str]


def made_from(cell: Cell, kind: type[Part], suite: Suite, side: Installation) -> dict[str, str]:
    """What a part of a cell is made from today.

    Args:
        cell: Whose part it is.
        kind: What part it is.
        suite: With the settings of all parts.
        side: Of the cell.
    """
    program = cell.training_key if kind in TRAINING else (*cell.program_key, cell.batch)
    found = {
        "network": content_digest(cell.network_key),
        "program": content_digest(program),
        "settings": content_digest(_settings(cell, kind, suite)),
        "interpreter": content_digest(side.python),
        "set of packages": content_digest(dict(side.distributions)),
        "cnnbench": f"{__version__} {own_digest()}",
        "code of plugins": plugin_digest(),
    }
    data = {cell.data, *(training_data(cell, suite) if kind in TRAINING else ())}
    if files := {name: digest for name in sorted(data) if (digest := dataset(name).files_digest)}:
        found["data"] = content_digest(files)
    if cell.program is not None and kind in (ChecksPart, *TRAINING):
        found["training program"] = training_program_digest(cell.program, cell.image)
    if kind is ChecksPart:
        from cnnbench.numerics.answering_code import code_digest

        found["reference"] = code_digest()
    return found


def _settings(cell: Cell, kind: type[Part], suite: Suite) -> Any:
    """The settings of the suite that a part depends on; how many launches there are is not among them."""
    if kind is ChecksPart:
        checks = (suite.checks.model_dump(mode="json", exclude={"names"}), cell.checks)
        return checks if cell.program is None else (*checks, _by_program(cell, suite, {"rounds"}))
    if kind is LaunchPart and suite.measure.latency is not None:
        latency = suite.measure.latency.model_dump(mode="json", exclude={"launches", "sequential", "controls"})
        return (latency, suite.measure.budget_s)
    if kind in TRAINING and cell.program is not None:
        return _by_program(cell, suite, set())
    if kind in TRAINING and (train := loop_settings(cell, suite) or suite.train) is not None:
        return train.model_dump(mode="json", exclude=NOT_OF_A_TRAINING)
    return None


def _by_program(cell: Cell, suite: Suite, left_out: set[str]) -> Any:
    """The settings of a training by a program, but for some."""
    return [item.model_dump(mode="json", exclude=left_out) for item in suite.programs if item.program == cell.program]


def differences(before: MadeFrom, now: MadeFrom) -> list[str]:
    """The names of what differs."""
    return [name for name in dict.fromkeys((*before, *now)) if before.get(name) != now.get(name)]


def changed_since(record: Cell, cell: Cell) -> list[str]:
    """What makes a record no record of a cell any more.

    Args:
        record: The cell of the record.
        cell: The cell as it is asked for today.
    """
    asked = {
        "network": (record.network_key, cell.network_key),
        "program": (record.program_key, cell.program_key),
        "batch": (record.batch, cell.batch),
        "checks": (record.checks, cell.checks),
        "measurements": (record.measure, cell.measure),
        "training": ((record.train, record.program), (cell.train, cell.program)),
    }
    return [name for name, (before, now) in asked.items() if before != now]


def check_records(cells: Iterable[Cell], records: Mapping[str, Record]) -> None:
    """Refuses records that are not of a plan's cells.

    Args:
        cells: Of the plan.
        records: By the cell's id.

    Raises:
        DataError: A record was made from another network, program or batch than its cell has.
    """
    for cell in cells:
        changed = changed_since(records[cell.id].cell, cell) if cell.id in records else []
        if changed:
            raise DataError(
                "a record is not of its plan's cell", where=cell.id, received=f"another {changed[0]}",
                remedy="run the suite again",
            )  # fmt: skip
