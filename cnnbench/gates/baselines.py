"""What a gate needs of a run, small enough to commit: snapshots, and the baseline files that hold them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from cnnbench.errors import DataError
from cnnbench.gates.evidence import Evidence
from cnnbench.harness.passes.findings import Digests, Sample, Training
from cnnbench.harness.run.files import first_problem, write_atomically
from cnnbench.harness.run.record import Control, Interval, Record
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.status import Status
from cnnbench.numerics.outcome import PROGRAM, REFUSED, CheckOutcome
from cnnbench.spec.frozen import Frozen
from cnnbench.training.metrics.score import Score

BASELINE_SCHEMA_VERSION = 1
FOLDER = Path("reports") / "baselines"


class RoundMedian(Frozen):
    """The median of a round's timed calls: the unit from which intervals can be made again.

    Args:
        latencies_s: In an A/B run the calls themselves: those of the two sides alternate, and pair by their place.
    """

    launch: int = Field(ge=0)
    round: int = Field(ge=0)
    median_s: float = Field(gt=0)
    samples: int = Field(ge=1)
    latencies_s: tuple[float, ...] = ()


class CellSnapshot(Frozen):
    """A cell as gates read it."""

    cell: Cell
    status: Status
    reason: str | None = None
    digests: Digests | None = None
    rounds: tuple[RoundMedian, ...] = ()
    median_s: Interval | None = None
    control: Control | None = None
    peak_bytes: int | None = Field(default=None, ge=0)
    device_peak_bytes: int | None = Field(default=None, ge=0)
    checks: tuple[CheckOutcome, ...] = ()
    test_accuracy: float | None = Field(default=None, ge=0, le=1)
    predictions: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()
    scores: tuple[Score, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)


class Snapshot(Frozen):
    """A run as gates read it.

    Args:
        yardsticks: The machine's speed in the same run, by name; larger is faster.
        fingerprint: Of the machine; where it differs, latency and memory are not comparable.
        selected: Whether only a part of the suite was asked for, so that other cells of a baseline may be absent.
    """

    schema_version: int
    suite: str
    run_id: str
    created_utc: str
    reason: str = ""  # why the baseline was set
    fingerprint: str
    environment: dict[str, Any] = Field(default_factory=dict)
    yardsticks: dict[str, float] = Field(default_factory=dict)
    selected: bool = False
    cells: tuple[CellSnapshot, ...]

    @property
    def two_sided(self) -> bool:
        """Whether this is an A/B run."""
        return any(cell.cell.side == "base" for cell in self.cells)

    def side(self, side: str) -> Snapshot:
        """The cells of one side of an A/B run; all cells of another run are on the head's."""
        return self.model_copy(update={"cells": tuple(cell for cell in self.cells if cell.cell.side == side)})


def snapshot(run: Evidence, *, reason: str = "") -> Snapshot:
    """A run condensed to what gates need. A planned cell without a record is in it as one that was interrupted."""
    in_turns = any(record.cell.side == "base" for record in run.records)
    missing = (
        CellSnapshot(cell=cell, status="interrupted", reason="the run has no record of it") for cell in run.unrecorded
    )
    return Snapshot(
        schema_version=BASELINE_SCHEMA_VERSION,
        suite=run.suite,
        run_id=run.run_id,
        created_utc=max((record.finished_utc for record in run.records), default=""),
        reason=reason,
        fingerprint=run.fingerprint,
        environment=dict(run.environment),
        yardsticks=dict(run.yardsticks),
        selected=run.selected,
        cells=(*(_cell(record, run.samples.get(record.cell.id, ()), in_turns) for record in run.records), *missing),
    )


def _cell(record: Record, samples: Iterable[Sample], in_turns: bool) -> CellSnapshot:
    training = record.training
    return CellSnapshot(
        cell=record.cell,
        status=record.status,
        reason=record.reason,
        digests=record.digests,
        rounds=round_medians(samples, in_turns=in_turns),
        median_s=record.latency.median_s if record.latency else None,
        control=record.control,
        peak_bytes=record.memory.peak_bytes if record.memory else None,
        device_peak_bytes=record.memory.device_peak_bytes if record.memory else None,
        checks=tuple(_without_figures(check) for check in record.checks),
        test_accuracy=training.test_accuracy if training else None,
        predictions=training.predictions if training else (),
        targets=training.targets if training else (),
        scores=judged_scores(training) if training else (),
        versions=record.versions,
        settings=record.settings,
    )


def judged_scores(training: Training) -> tuple[Score, ...]:
    """The metrics of the test images; a classifier's accuracy is judged by its predictions."""
    return tuple(score for score in training.metrics if score.metric != "accuracy" or not training.predictions)


def _without_figures(check: CheckOutcome) -> CheckOutcome:
    """The check without its details, but for what says whether it proves the program."""
    kept = {name: check.details[name] for name in (REFUSED, PROGRAM) if name in check.details}
    return check.model_copy(update={"details": kept})


def round_medians(samples: Iterable[Sample], *, in_turns: bool = False) -> tuple[RoundMedian, ...]:
    """One median for each launch and round; with the calls where those of two sides alternate (``in_turns``)."""
    from statistics import median

    rounds: dict[tuple[int, int], list[float]] = {}
    for sample in samples:
        rounds.setdefault((sample.launch, sample.round), []).append(sample.latency_s)
    return tuple(
        RoundMedian(
            launch=launch,
            round=number,
            median_s=median(values),
            samples=len(values),
            latencies_s=tuple(values) if in_turns else (),
        )
        for (launch, number), values in sorted(rounds.items())
    )


def baseline_path(suite: str, folder: Path | None = None) -> Path:
    """Where a suite's baseline lies: ``reports/baselines/<suite>.json``."""
    return (folder or FOLDER) / f"{suite}.json"


def save_baseline(value: Snapshot, path: Path) -> Path:
    """Writes a baseline in one step: a reader sees the old file or the new one, never a part.

    Raises:
        DataError: No cell of the run was measured, or one was interrupted or has no record, so that it cannot serve as
            a baseline.
    """
    lost = [cell for cell in value.cells if cell.status == "interrupted"]
    if lost:
        raise DataError(
            f"a run that lacks {len(lost)} of its {len(value.cells)} cells cannot be a baseline",
            where=value.run_id,
            received=f"{lost[0].cell.id}: {lost[0].reason or 'interrupted'}",
            remedy="--resume it, then set it",
        )
    if not any(cell.status == "ok" for cell in value.cells):
        raise DataError("a run without any cell that ended well cannot be a baseline", where=value.run_id)
    write_atomically(path, _text(value))
    return path


def _text(value: Snapshot) -> str:
    """JSON with a line for each cell, so that a change of the file can be read."""
    import json

    content = json.loads(value.model_dump_json(exclude_none=True))
    cells = ",\n  ".join(json.dumps(cell) for cell in content.pop("cells"))
    return f'{json.dumps(content, indent=1)[:-2]},\n "cells": [\n  {cells}\n ]\n}}\n'


def load_baseline(path: Path) -> Snapshot:
    """A baseline from its file.

    Raises:
        DataError: There is no such file, it is not JSON, its version is unknown, a value does not fit, or it has
            a cell twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError("there is no baseline", where=str(path), remedy="set one: cnnbench baseline set RUN") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the baseline cannot be read: {error}", where=str(path)) from error
    remedy = "restore the file from version control, or set it again: cnnbench baseline set RUN"
    version = _version(text, path, remedy)
    if version != BASELINE_SCHEMA_VERSION:
        raise DataError(
            "the baseline's version is unknown",
            where=str(path),
            received=version,
            expected=BASELINE_SCHEMA_VERSION,
            remedy="set it again with this version: cnnbench baseline set RUN",
        )
    try:
        found = Snapshot.model_validate_json(text)
    except ValidationError as error:
        raise DataError(f"the baseline is damaged: {first_problem(error)}", where=str(path), remedy=remedy) from error
    times = Counter((cell.cell.side, cell.cell.key) for cell in found.cells)
    twice = next((cell.cell.id for cell in found.cells if times[cell.cell.side, cell.cell.key] > 1), None)
    if twice is not None:
        raise DataError("the baseline has a cell twice", where=str(path), received=twice, remedy=remedy)
    for cell in found.cells:
        rounds = Counter((item.launch, item.round) for item in cell.rounds)
        if rounds and max(rounds.values()) > 1:
            raise DataError("the baseline has a round twice", where=str(path), received=cell.cell.id, remedy=remedy)
    return found


def _version(text: str, path: Path, remedy: str) -> object:
    """The file's schema version."""
    import json

    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the baseline is not JSON: {error}", where=str(path), remedy=remedy) from error
    if not isinstance(value, Mapping):
        raise DataError("the baseline is not an object", where=str(path), remedy=remedy)
    return value.get("schema_version")
