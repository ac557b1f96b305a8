"""The training pass: the same data, batches and initial weights on every backend that trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cnnbench.errors import CnnbenchError
from cnnbench.execution.backends import backend_plugin
from cnnbench.execution.precision import precision
from cnnbench.harness.passes.events import EpochDone
from cnnbench.harness.passes.findings import CurvePart, Failure, Training, TrainingPart
from cnnbench.harness.passes.material import Material
from cnnbench.harness.run.session import Session
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.model import Train
from cnnbench.harness.worker.arrays import read_arrays, write_arrays
from cnnbench.harness.worker.pool import LoadedWorker, Pool
from cnnbench.harness.worker.protocol.training import EpochEvent, Event, LossesRequest, TrainRequest
from cnnbench.numerics.training_envelope import agreement, envelope, perturbed
from cnnbench.spec.losses import loss_from_fields
from cnnbench.spec.optimizers import optimizer_from_fields
from cnnbench.training.augmentation import Augmentation
from cnnbench.training.epoch import Epoch
from cnnbench.training.schedules import schedule_from_fields
from cnnbench.training.settings import TrainSettings

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
        training = _trained(session, loaded, _train_request(material, path, settings, cell.seed))
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
    request = LossesRequest(
        graph=material.graph,
        options=options,
        arrays=material.arrays,
        settings=train_settings(settings, cell.seed),
        beside=tuple(beside),
    )
    with session.watch.timing("training"):
        reply = loaded.worker.ask(request, timeout_s=session.plan.suite.timeouts.call_s)
    part = CurvePart(origin=loaded.origin(cell), losses=reply.losses)
    session.store.write_part(cell.id, CURVE, part)
    return part.losses


def train_settings(settings: Train, seed: int) -> TrainSettings:
    """A suite's training settings as the training loop takes them. Args: seed: of the cell."""
    return TrainSettings(
        data=settings.data,
        epochs=settings.epochs,
        batch=settings.batch,
        loss=loss_from_fields(settings.loss.kind, settings.loss.fields),
        optimizer=optimizer_from_fields(settings.optimizer.kind, settings.optimizer.fields),
        learning_rate=settings.learning_rate,
        schedule=schedule_from_fields(settings.schedule.kind, settings.schedule.fields),
        augmentation=Augmentation(**settings.augmentation.model_dump()),
        seed=seed,
        train_images=settings.train_images,
        test_images=settings.test_images,
    )


def _train_request(material: Material, arrays: Path, settings: Train, seed: int) -> TrainRequest:
    return TrainRequest(
        graph=material.graph, options=material.options, arrays=arrays, settings=train_settings(settings, seed)
    )


def _train(session: Session, cell: Cell, pool: Pool, settings: Train) -> None:
    session.doing(cell, f"epoch 1 of {settings.epochs}")
    loaded = pool.get(session.spec(cell))

    def report(epoch: Epoch) -> None:
        session.emit(EpochDone(cell.id, epoch))
        if epoch.epoch < settings.epochs:
            session.doing(cell, f"epoch {epoch.epoch + 1} of {settings.epochs}")

    material = session.materials.of(cell)
    training = _trained(session, loaded, _train_request(material, material.arrays, settings, cell.seed), report)
    session.store.write_part(cell.id, "training", TrainingPart(origin=loaded.origin(cell), training=training))
    wrong = [i for i, loss in enumerate(training.losses) if not math.isfinite(loss)]
    if wrong:
        session.fail(cell, Failure(status="nan", reason=f"the training loss is not finite from step {wrong[0] + 1} on"))


def _trained(
    session: Session,
    loaded: LoadedWorker,
    request: TrainRequest,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Training:
    """Trains in a worker; ``on_epoch`` receives each epoch as it ends."""
    epochs: list[Epoch] = []

    def receive(event: Event) -> None:
        if isinstance(event, EpochEvent):  # the other kind is a sign of life
            epochs.append(event.epoch)
            on_epoch(event.epoch)

    with session.watch.timing("training"):
        reply = loaded.worker.ask(request, timeout_s=session.plan.suite.timeouts.call_s, on_event=receive)
    return Training(
        epochs=tuple(epochs),
        losses=reply.losses,
        predictions=reply.predictions,
        targets=reply.targets,
        test_accuracy=epochs[-1].test_accuracy,
    )
