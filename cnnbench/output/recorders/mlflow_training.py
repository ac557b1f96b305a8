"""What MLflow gets of a training: its datasets, the loss of each step, and what each epoch came to."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from cnnbench.errors import CnnbenchError
from cnnbench.gates.evidence import Evidence
from cnnbench.harness.passes.findings import Training
from cnnbench.harness.run.record import Record
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.recipes import Train
from cnnbench.output.figures import MEBIBYTE
from cnnbench.spec.content import content_digest
from cnnbench.training.data import dataset
from cnnbench.training.epoch import Epoch
from cnnbench.training.programs.offered import offered_program

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput


PARAM_LIMIT = 500  # characters of a parameter that every store of MLflow keeps


def training_points(training: Training) -> Iterator[tuple[str, float, int]]:
    """(name, value, step) of each finite figure."""
    for step, loss in enumerate(training.losses, 1):
        if math.isfinite(loss):
            yield "train/loss", loss, step
    for epoch in training.epochs:
        found = {"train/test_accuracy": epoch.test_accuracy, "train/test_loss": epoch.test_loss}
        found |= {"train/img_per_s": epoch.images_per_s, "train/data_wait_pct": _percent(epoch.data_share)}
        for name, value in (found | _scores(epoch, "train/")).items():
            if value is not None and math.isfinite(value):
                yield name, value, epoch.step


def final_scores(training: Training) -> dict[str, float | None]:
    """The metrics after the last epoch, ``test_mean_iou`` and the like, its speed, and when the target was reached."""
    found = _scores(training.epochs[-1], "") if training.epochs else {}
    memory = training.memory_bytes
    found |= {
        "train_img_per_s": training.images_per_s,
        "data_wait_pct": _percent(training.data_share),
        "train_peak_mb": None if memory is None else memory / MEBIBYTE,
    }
    if (target := training.target) is not None:
        found |= {"epochs_to_target": target.epochs_to_target, "time_to_target_s": target.time_to_target_s}
    return found


def training_lines(records: Sequence[Record]) -> tuple[str, ...]:
    """The names of a training's curves: the loss, what the test images show, and speed."""
    found = {
        name: None
        for record in records
        if record.training is not None
        for epoch in record.training.epochs
        for name in _scores(epoch, "train/")
    }
    return ("train/loss", "train/test_accuracy", "train/test_loss", *found, "train/img_per_s", "train/data_wait_pct")


def trained_on(run: Evidence, cell: Cell) -> tuple[str, ...]:
    """The datasets that a cell of a run trained on, as its suite names them.

    Args:
        run: With the suite as it was resolved.
        cell: That trained.
    """
    train = run.settings.get("train")
    if cell.program is None:
        return (str(train["data"]),) if isinstance(train, dict) else ()
    named = [item.get("data") for item in run.settings.get("programs", ()) if item.get("program") == cell.program]
    given = named[0] if named else None
    if given is None:
        with suppress(CnnbenchError):
            given = dict(offered_program(cell.program).data)
    return tuple(dict.fromkeys(given.values())) if isinstance(given, dict) else (given,) if given else ()


def recipe_params(run: Evidence, cell: Cell) -> dict[str, str]:
    """The recipe by which a cell trains, with its settings; nothing where the suite trains in one way.

    Args:
        run: With the suite as it was resolved.
        cell: Of the run.
    """
    if cell.recipe is None:
        return {}
    found = {"recipe": cell.recipe}
    given = run.settings.get("train")
    ways = Train.model_validate(given).trainings() if isinstance(given, dict) else ()
    for way in ways:
        if way.digest == cell.recipe_digest:
            found |= {name: _in_words(value) for name, value in way.asked.items() if name != "data"}
    return {name: text[:PARAM_LIMIT] for name, text in found.items()}


def _in_words(value: object) -> str:
    """``sgd momentum=0.9`` for a component, and whatever else as it is.

    >>> _in_words({"kind": "sgd", "momentum": 0.9})
    'sgd momentum=0.9'
    """
    if not isinstance(value, dict):
        return str(value)
    return " ".join(str(field) if name == "kind" else f"{name}={field}" for name, field in value.items())


def log_datasets(client: MlflowClient, run_id: str, names: Sequence[str]) -> None:
    """Adds datasets to a run's inputs.

    Args:
        client: Of the store.
        run_id: The run's.
        names: Of the datasets.
    """
    if names:
        client.log_inputs(run_id, datasets=[dataset_input(name) for name in names])


def dataset_input(name: str) -> DatasetInput:
    """A dataset as MLflow lists it among a run's inputs: its digest is that of its files, or of its name.

    Args:
        name: Of the dataset.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    digest = ""
    with suppress(CnnbenchError):  # logged on a machine that has not the data
        digest = dataset(name).files_digest
    source = json.dumps({"dataset": name})
    found = Dataset(name, (digest or content_digest(name))[:36], "cnnbench", source)
    return DatasetInput(found, [InputTag("mlflow.data.context", "training")])


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _scores(epoch: Epoch, folder: str) -> dict[str, float | None]:
    """But for the accuracy, which a classifier's training has under its own name."""
    found = [score for score in epoch.metrics if score.metric != "accuracy" or epoch.test_accuracy is None]
    return {f"{folder}test_{re.sub(r'[^A-Za-z0-9_. -]', '_', score.metric)}": score.value for score in found}
