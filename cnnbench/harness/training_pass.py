"""The training pass: the same data, batches and initial weights on every backend that trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnbench.harness.events import EpochDone
from cnnbench.harness.parts import Failure, TrainingPart
from cnnbench.harness.pool import Pool
from cnnbench.harness.record import Cell, Epoch, Training
from cnnbench.harness.session import Session
from cnnbench.harness.suite import Train
from cnnbench.harness.transfer import options_to_json


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


def request_of(settings: Train, seed: int) -> dict[str, Any]:
    """What a worker is told of training."""
    parts = {
        name: {"kind": part.kind, "fields": part.fields}
        for name, part in (("loss", settings.loss), ("optimizer", settings.optimizer), ("schedule", settings.schedule))
    }
    plain = settings.model_dump(mode="json", include={"data", "epochs", "batch", "learning_rate"})
    return {**plain, **parts, "seed": seed}


def _train(session: Session, cell: Cell, pool: Pool, settings: Train) -> None:
    session.doing(cell, f"epoch 1 of {settings.epochs}")
    loaded = pool.get(session.spec(cell))
    material = session.materials.of(cell)
    epochs: list[Epoch] = []

    def hear(event: dict[str, Any]) -> None:
        if "epoch" not in event:
            return  # a sign of life
        epochs.append(Epoch(**event["epoch"]))
        session.emit(EpochDone(cell.id, epochs[-1]))
        if len(epochs) < settings.epochs:
            session.doing(cell, f"epoch {len(epochs) + 1} of {settings.epochs}")

    with session.watch.timing("training"):
        reply = loaded.worker.request(
            "train",
            timeout_s=session.plan.suite.timeouts.call_s,
            on_event=hear,
            graph=material.graph.to_json(),
            arrays=str(material.arrays),
            options=options_to_json(material.options),
            settings=request_of(settings, cell.seed),
        )
    training = Training(
        epochs=tuple(epochs),
        losses=tuple(reply["losses"]),
        predictions=tuple(reply["predictions"]),
        targets=tuple(reply["targets"]),
        test_accuracy=epochs[-1].test_accuracy,
    )
    session.store.write_part(cell.id, "training", TrainingPart(origin=loaded.origin(cell), training=training))
    wrong = [i for i, loss in enumerate(training.losses) if not abs(loss) < float("inf")]
    if wrong:
        session.fail(cell, Failure(status="nan", reason=f"the training loss is not finite from step {wrong[0] + 1} on"))
