"""The training pass: the same data, batches and initial weights on every backend that trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnnbench.errors import CnnbenchError
from cnnbench.execution.backends import backend_plugin
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.harness.passes.events import EpochDone
from cnnbench.harness.passes.findings import CurvePart, Failure, Training, TrainingPart
from cnnbench.harness.run.session import Session
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.model import Train
from cnnbench.harness.worker.arrays import options_to_json, read_arrays, write_arrays
from cnnbench.harness.worker.pool import Loaded, Pool
from cnnbench.numerics.training_envelope import agreement, envelope, perturbed
from cnnbench.training.epoch import Epoch

EXACT = "float64"
CURVE = "training-curve-float64"  # the part that keeps the losses of the run in it


def training_pass(session: Session, cells: Sequence[Cell], pool: Pool) -> None:
    """Trains every cell that is to be trained and has no curve yet."""
    settings = session.plan.suite.train
    if settings is None:
        return
    for cell in sorted(cells, key=lambda cell: cell.group):
        if not cell.train:
            continue
        if session.open(cell) and session.store.read_part(cell.id, "training", TrainingPart) is None:
            with session.guarded(cell, lambda cell=cell: pool.peek(session.spec(cell))):  # type: ignore[misc]
                _train(session, cell, pool, settings)
        session.finished(settings.epochs)
    for alike in _alike(session, cells):
        _compare(session, alike, pool, settings)


def _alike(session: Session, cells: Sequence[Cell]) -> list[list[Cell]]:
    """Trained cells by what makes their curves comparable, but for cells whose record is written."""
    found: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        if cell.train and session.open(cell):
            key = (cell.architecture, cell.image, cell.num_classes, cell.precision, cell.seed)
            found.setdefault(key, []).append(cell)
    return list(found.values())


def _compare(session: Session, cells: Sequence[Cell], pool: Pool, settings: Train) -> None:
    """Sets the curves of cells that train alike against the envelope of reference runs on the fastest of them."""
    parts = {cell.id: session.store.read_part(cell.id, "training", TrainingPart) for cell in cells}
    trained = [(cell, part) for cell in cells if (part := parts[cell.id]) is not None]
    if len(trained) < 2 or all(part.training.envelope for _, part in trained):
        return
    reference, base = min(trained, key=lambda pair: sum(epoch.seconds for epoch in pair[1].training.epochs))
    runs = [base.training]
    try:
        for number in range(1, settings.envelope_runs + 1):
            runs.append(_perturbed_run(session, reference, pool, settings, number))
    except CnnbenchError as error:  # the cell's own training went well
        session.note(f"the training curves of {reference.architecture} have no envelope: {error}")
        return
    exact = _exact_losses(session, reference, pool, settings, base.training.losses)
    found = envelope([run.losses for run in runs], [run.test_accuracy for run in runs], exact)
    for cell, part in trained:
        facts = agreement(part.training.losses, part.training.test_accuracy, found)
        facts |= {"reference": reference.id, "reference_runs": len(runs)}
        training = part.training.model_copy(update={"envelope": facts})
        session.store.write_part(cell.id, "training", part.model_copy(update={"training": training}))


def _exact_losses(
    session: Session, cell: Cell, pool: Pool, settings: Train, beside: Sequence[float]
) -> tuple[float, ...] | None:
    """The losses in float64 until the cell's have parted from them; None where there is no such run or it fails."""
    if cell.precision == EXACT or EXACT not in backend_plugin(cell.backend).precisions[cell.mode]:
        return None
    try:
        return _exact_run(session, cell, pool, settings, beside)
    except CnnbenchError as error:
        session.note(f"the training curves of {cell.architecture} are compared with a mean, not with float64: {error}")
        return None


def _perturbed_run(session: Session, cell: Cell, pool: Pool, settings: Train, number: int) -> Training:
    """A training run from weights that are one unit in the last place off."""
    name = f"training-reference-{number}"
    kept = session.store.read_part(cell.id, name, TrainingPart)
    if kept is not None:
        return kept.training
    session.doing(cell, f"reference run {number} of {settings.envelope_runs}")
    material, loaded = session.materials.of(cell), pool.get(session.spec(cell))
    path = loaded.worker.folder / f"{name}.safetensors"
    write_arrays(path, perturbed(read_arrays(material.arrays), cell.seed, number))
    try:
        training = _trained(session, cell, loaded, settings, path, material.options)
    finally:
        path.unlink(missing_ok=True)
    session.store.write_part(cell.id, name, TrainingPart(origin=loaded.origin(cell), training=training))
    return training


def _exact_run(session: Session, cell: Cell, pool: Pool, settings: Train, beside: Sequence[float]) -> tuple[float, ...]:
    """The losses of a training run from the same weights in float64, until the given ones have parted from them."""
    kept = session.store.read_part(cell.id, CURVE, CurvePart)
    if kept is not None:
        return kept.losses
    session.doing(cell, "reference run in float64")
    material, loaded = session.materials.of(cell), pool.get(session.spec(cell))
    options = replace(material.options, precision=precision(EXACT))
    with session.watch.timing("training"):
        reply = loaded.worker.request(
            "losses",
            timeout_s=session.plan.suite.timeouts.call_s,
            graph=material.graph.to_json(),
            arrays=str(material.arrays),
            options=options_to_json(options),
            settings=request_of(settings, cell.seed),
            beside=list(beside),
        )
    part = CurvePart(origin=loaded.origin(cell), losses=tuple(reply["losses"]))
    session.store.write_part(cell.id, CURVE, part)
    return part.losses


def request_of(settings: Train, seed: int) -> dict[str, Any]:
    """What a worker is told of training."""
    parts = {
        name: {"kind": part.kind, "fields": part.fields}
        for name, part in (("loss", settings.loss), ("optimizer", settings.optimizer), ("schedule", settings.schedule))
    }
    names = {"data", "epochs", "batch", "learning_rate", "augmentation", "train_images", "test_images"}
    plain = settings.model_dump(mode="json", include=names)
    return {**plain, **parts, "seed": seed}


def _train(session: Session, cell: Cell, pool: Pool, settings: Train) -> None:
    session.doing(cell, f"epoch 1 of {settings.epochs}")
    loaded = pool.get(session.spec(cell))

    def told(epoch: Epoch) -> None:
        session.emit(EpochDone(cell.id, epoch))
        if epoch.epoch < settings.epochs:
            session.doing(cell, f"epoch {epoch.epoch + 1} of {settings.epochs}")

    material = session.materials.of(cell)
    training = _trained(session, cell, loaded, settings, material.arrays, material.options, told)
    session.store.write_part(cell.id, "training", TrainingPart(origin=loaded.origin(cell), training=training))
    wrong = [i for i, loss in enumerate(training.losses) if not math.isfinite(loss)]
    if wrong:
        session.fail(cell, Failure(status="nan", reason=f"the training loss is not finite from step {wrong[0] + 1} on"))


def _trained(
    session: Session,
    cell: Cell,
    loaded: Loaded,
    settings: Train,
    arrays: Path,
    options: ProgramOptions,
    told: Callable[[Epoch], None] = lambda epoch: None,
) -> Training:
    """Trains in a worker; ``told`` hears of each epoch."""
    graph = session.materials.of(cell).graph
    epochs: list[Epoch] = []

    def hear(event: dict[str, Any]) -> None:
        if "epoch" not in event:
            return  # a sign of life
        epochs.append(Epoch(**event["epoch"]))
        told(epochs[-1])

    with session.watch.timing("training"):
        reply = loaded.worker.request(
            "train",
            timeout_s=session.plan.suite.timeouts.call_s,
            on_event=hear,
            graph=graph.to_json(),
            arrays=str(arrays),
            options=options_to_json(options),
            settings=request_of(settings, cell.seed),
        )
    return Training(
        epochs=tuple(epochs),
        losses=tuple(reply["losses"]),
        predictions=tuple(reply["predictions"]),
        targets=tuple(reply["targets"]),
        test_accuracy=epochs[-1].test_accuracy,
    )
