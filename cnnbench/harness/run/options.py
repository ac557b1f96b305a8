"""How a plan is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cnnbench.harness.passes.facts import Undecided
from cnnbench.harness.run.extensions import Recorder
from cnnbench.harness.run.store import DEFAULT_ROOT
from cnnbench.harness.worker.sides import Interpreter


@dataclass(frozen=True)
class RunOptions:
    """How a plan is run.

    Args:
        root: Where runs' folders are made. resume: the folder of a run to continue instead.
        recorders: By name; they hear of records that are already on disk.
        pythons: The interpreter of each side; the one that runs this for a side that is not named. A run that is
            continued keeps those that it was started with.
        sides: What each side's interpreter said of itself, for the run's environment.
        time_wrong_numbers: Time cells even where a check failed.
        undecided: Where the suite samples sequentially, says after each launch which cells go on.
    """

    root: Path = DEFAULT_ROOT
    resume: Path | None = None
    recorders: Mapping[str, Recorder] = field(default_factory=dict)
    pythons: Mapping[str, str] = field(default_factory=dict)
    sides: Mapping[str, Interpreter] = field(default_factory=dict)
    time_wrong_numbers: bool = False
    undecided: Undecided | None = None
