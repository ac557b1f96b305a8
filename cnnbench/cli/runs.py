"""Finds the run that an argument means: a folder, a run's id, a suite's name, or ``latest``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnbench.errors import SuiteError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cnnbench.harness.run.extensions import Recorder
    from cnnbench.harness.run.summary import Summary

RUNS = Path("reports/runs")

Run = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's folder or id, a suite's name (its newest run), or 'latest'.")
]
Root = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where runs' folders lie.")]


def find_run(text: str, root: Path = RUNS) -> Path:
    """The folder of a run. Raises SuiteError with the nearest name where there is none."""
    from cnnbench.harness.run.store import runs

    if (Path(text) / "cells").is_dir():
        return Path(text)
    known = runs(root)
    named = [folder for folder in known if text in ("latest", folder.name, folder.parent.name)]
    if named:
        return named[-1]
    names = {name for folder in known for name in (folder.name, folder.parent.name)}
    remedy = did_you_mean(text, names) if names else f"there is no run in {root}: cnnbench run SUITE"
    raise SuiteError("there is no such run", where=str(root), received=text, remedy=remedy)


def summary_of(folder: Path) -> Summary | None:
    """A run's summary; None where it did not get so far or cannot be read."""
    from cnnbench.errors import DataError
    from cnnbench.harness.run.store import RunStore

    try:
        return RunStore.open(folder).read_summary()
    except DataError:
        return None


def recorders(*, mlflow: bool, tracking_uri: str | None) -> Mapping[str, Recorder]:
    """Every plugin's recorders by name, without MLflow's where it is not wanted."""
    import os

    from cnnbench.harness.run.hooks import offered_recorders

    if tracking_uri is not None:
        os.environ["MLFLOW_TRACKING_URI"] = tracking_uri
    found = offered_recorders()
    if not mlflow:
        found.pop("mlflow", None)
    return found
