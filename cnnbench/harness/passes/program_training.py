"""The training pass by programs: several networks in turn, from the same arrays, batches and draws on every backend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from cnnbench.harness.passes.events import EpochFinished
from cnnbench.harness.passes.findings import Failure, Training, TrainingPart
from cnnbench.harness.passes.program_pictures import MadePictures, PictureMaker
from cnnbench.harness.passes.program_settings import round_settings
from cnnbench.harness.passes.training import departed_failure, keep_examples
from cnnbench.harness.passes.work import Work
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.trainings import cell_program
from cnnbench.harness.worker.arrays import read_arrays
from cnnbench.harness.worker.pool import LoadedWorker, Pool
from cnnbench.harness.worker.protocol.programs import PICTURES, TrainProgramRequest
from cnnbench.harness.worker.protocol.training import TEST_IMAGES, EpochEvent, Event
from cnnbench.training.epoch import Epoch

EXAMPLES = 16  # pictures that are kept of each cell


def program_training_pass(work: Work, cells: Sequence[Cell], pool: Pool) -> None:
    """Trains every cell that trains by a program and has not done so.

    Args:
        work: The pass.
        cells: All cells of the run that are not skipped.
        pool: Its workers.
    """
    training = [cell for cell in sorted(cells, key=lambda cell: cell.group) if cell.train and cell.program is not None]
    maker = PictureMaker(work, pool)
    for cell in training:
        if work.is_open(cell) and work.facts.found(cell).training is None:
            spec = work.facts.spec(cell)
            with work.guarded(cell, lambda spec=spec: pool.peek(spec)):  # type: ignore[misc]
                _train(work, cell, pool.get(spec), maker)
        work.count()
    for cell in training:
        part = work.facts.found(cell).training
        failure = wrong_program(part.training) if part is not None and work.is_open(cell) else None
        if failure is not None:
            work.fail(cell, failure)


def _train(work: Work, cell: Cell, loaded: LoadedWorker, maker: PictureMaker) -> None:
    work.begin(cell, "training by a program")
    origin, folder = loaded.origin(cell), loaded.worker.folder
    final, averages = (folder / f"program-{name}.safetensors" for name in ("final", "averages"))
    try:
        request = _request(work, cell, final, averages)
        training = _trained(work, cell, loaded, request)
        sampling, examples = request.program.sampling, None
        if sampling is not None and all(map(math.isfinite, training.losses)):
            held = {**read_arrays(final), **read_arrays(averages)}
            made = maker.made(cell, sampling, held, dict(request.settings.data))
            training = _with_pictures(training, made)
            shown = {PICTURES: made.pictures[:EXAMPLES]}
            if made.given is not None:
                shown = {TEST_IMAGES: made.given[:EXAMPLES], "image": made.pictures[:EXAMPLES]}
            examples = keep_examples(work, cell, shown)
    finally:
        for path in (final, averages):
            path.unlink(missing_ok=True)
    work.keep(cell, "training", TrainingPart(origin=origin, training=training, examples=examples))


def _with_pictures(training: Training, made: MadePictures) -> Training:
    *before, last = training.epochs
    epochs = (*before, last.model_copy(update={"metrics": made.scores}))
    return training.model_copy(update={"epochs": epochs, "evaluation": made.evaluation})


def _request(work: Work, cell: Cell, final: Path, averages: Path) -> TrainProgramRequest:
    material = work.facts.materials.of(cell)
    asked, _ = cell_program(cell, work.facts.suite)
    assert material.program is not None
    return TrainProgramRequest(
        program=material.program,
        options=material.options,
        arrays=material.start,
        settings=round_settings(cell, work.facts.suite),
        rounds=asked.rounds,
        final=final,
        averages=averages,
    )


def _trained(work: Work, cell: Cell, loaded: LoadedWorker, request: TrainProgramRequest) -> Training:
    epochs: list[Epoch] = []

    def receive(event: Event) -> None:
        if isinstance(event, EpochEvent):  # the other kind is a sign of life
            epochs.append(event.epoch)
            work.report(EpochFinished(cell.id, event.epoch))

    with work.watch.timing("training"):
        reply = loaded.worker.ask(request, timeout_s=work.facts.suite.timeouts.call_s, on_event=receive)
    phases = tuple(phase.name for phase in request.program.phases)
    return Training(
        epochs=tuple(epochs),
        losses=reply.losses,
        phases=phases,
        peak_bytes=reply.peak_bytes,
        device_peak_bytes=reply.device_peak_bytes,
    )


def wrong_program(training: Training) -> Failure | None:
    """The failure that a training by a program amounts to: a loss that is no finite number, or other pictures.

    Args:
        training: Of a cell.
    """
    wrong = next((i for i, loss in enumerate(training.losses) if not math.isfinite(loss)), None)
    if wrong is None:
        return departed_failure(training.evaluation)
    at, phase = divmod(wrong, len(training.phases))
    reason = f"the loss of phase {training.phases[phase]!r} is not finite in round {at + 1}"
    return Failure(status="nan", reason=reason)
