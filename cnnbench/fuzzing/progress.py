"""The progress of fuzzing on disk, to continue a killed run: the next number, counts, coverage and findings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from cnnbench.errors import SuiteError
from cnnbench.fuzzing.findings import Finding
from cnnbench.harness.run.files import read_model, to_json, write_atomically
from cnnbench.measurement.installed import computing_digest
from cnnbench.spec.frozen import Frozen

FILE = "progress.json"


class OutcomeCount(Frozen):
    """How often a check on a backend and mode passed, failed or was skipped."""

    series: str
    check: str
    status: str
    count: int


class Progress(Frozen):
    """The progress of fuzzing.

    Args:
        seed: Of the sequence of networks.
        made_from: Digest of the code and the packages that the counts and the findings are of.
        number: Of the next network.
        attempts: How often that network was begun: one that ends this process is left out at the third.
        networks: That were run. empty: those of which nothing stayed in the range of numbers.
        seconds: That it took.
        outcomes: Of each backend, mode and check.
        coverage: How often each class of ``coverage`` was seen.
        findings: In the order in which they were made, no two of one signature.
    """

    seed: int
    made_from: str = ""
    number: int = 0
    attempts: int = 0
    networks: int = 0
    empty: int = 0
    seconds: float = 0.0
    outcomes: tuple[OutcomeCount, ...] = ()
    coverage: Mapping[str, int] = Field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def beginning(seed: int) -> Progress:
    """Empty progress for the present code and packages."""
    return Progress(seed=seed, made_from=computing_digest())


def read_progress(folder: Path, seed: int) -> Progress:
    """The progress in the folder, or an empty one.

    Of other code or packages only the place in the sequence stays: what was found of them is reported again where it is
    still there.

    Raises:
        SuiteError: It holds another seed's progress. DataError: the file is damaged.
    """
    path, fresh = folder / FILE, beginning(seed)
    if not path.is_file():
        return fresh
    found = read_model(path, Progress)
    if found.seed != seed:
        raise SuiteError(
            "the folder holds another sequence of networks",
            where=str(folder),
            received=f"seed {seed}",
            expected=f"seed {found.seed}",
            remedy="name another folder with -o, or give that seed",
        )
    if found.made_from != fresh.made_from:
        return fresh.model_copy(update={"number": found.number, "attempts": found.attempts})
    return found


def write_progress(folder: Path, progress: Progress) -> None:
    """Replaces the progress in the folder."""
    write_atomically(folder / FILE, to_json(progress))
