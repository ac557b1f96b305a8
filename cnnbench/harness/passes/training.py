"""The training pass: the same data, batches and initial weights on every backend that trains."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnbench.errors import CnnbenchError
from cnnbench.harness.passes.events import EpochFinished
from cnnbench.harness.passes.findings import Evaluation, Failure, Training, TrainingPart
from cnnbench.harness.passes.reference_curves import NUMPY, ReferenceCurves
from cnnbench.harness.passes.train_settings import cell_settings
from cnnbench.harness.passes.work import Work
from cnnbench.harness.suite.cell import Cell, Key
from cnnbench.harness.suite.trainings import training_units
from cnnbench.harness.worker.arrays import read_arrays, write_arrays
from cnnbench.harness.worker.pool import LoadedWorker, Pool
from cnnbench.harness.worker.protocol.training import EpochEvent, Event, TrainRequest
from cnnbench.numerics.training_envelope import CurveAgreement, CurveEnvelope, agreement
from cnnbench.training.epoch import Epoch

EXAMPLES = 4  # test images
EXAMPLES_FILE = "examples.safetensors"  # in a cell's folder: the outputs for them at the end of the training


def training_pass(work: Work, cells: Sequence[Cell], pool: Pool) -> None:
    """Trains every cell that is to be trained and has no curve yet, and compares curves that can be compared.

    Args:
        work: The pass.
        cells: All cells of the run that are not skipped.
        pool: Its workers.
    """
    if work.facts.suite.train is not None:
        _TrainingPass(work, pool).run(cells)


class _TrainingPass:
    def __init__(self, work: Work, pool: Pool) -> None:
        self._work = work
        self._pool = pool
        self._references = ReferenceCurves(work, pool)

    def run(self, cells: Sequence[Cell]) -> None:
        training = [cell for cell in sorted(cells, key=lambda cell: cell.group) if cell.train and cell.program is None]
        for cell in training:
            if self._work.is_open(cell) and self._work.facts.found(cell).training is None:
                spec = self._work.facts.spec(cell)
                with self._work.guarded(cell, lambda spec=spec: self._pool.peek(spec)):  # type: ignore[misc]
                    self._train(cell)
            self._work.count(training_units(cell, self._work.facts.suite))
        groups: dict[Key, list[Cell]] = {}
        for cell in training:
            if self._work.is_open(cell):  # else its record is written
                groups.setdefault(cell.training_group, []).append(cell)
        for alike in groups.values():
            self._compare(alike)

    def _train(self, cell: Cell) -> None:
        epochs = training_units(cell, self._work.facts.suite)
        self._work.begin(cell, f"epoch 1 of {epochs}")
        loaded = self._pool.get(self._work.facts.spec(cell))

        def report(epoch: Epoch) -> None:
            self._work.report(EpochFinished(cell.id, epoch))
            if epoch.epoch < epochs:
                self._work.begin(cell, f"epoch {epoch.epoch + 1} of {epochs}")

        final, outputs = (loaded.worker.folder / f"{name}.safetensors" for name in ("trained", "outputs"))
        try:
            training = self._trained(loaded, self._request(cell, final, outputs), report)
            training = self._evaluated(cell, final, outputs, training)
            examples = None
            if not training.targets:
                found = {name: values[:EXAMPLES] for name, values in read_arrays(outputs).items()}
                examples = keep_examples(self._work, cell, found)
        finally:
            for path in (final, outputs):
                path.unlink(missing_ok=True)
        part = TrainingPart(origin=loaded.origin(cell), training=training, examples=examples)
        self._work.keep(cell, "training", part)
        failure = wrong_training(training)
        if failure is not None:
            self._work.fail(cell, failure)

    def _evaluated(self, cell: Cell, final: Path, outputs: Path, training: Training) -> Training:
        """With the comparison of its predictions, where NumPy can make them."""
        if not all(map(math.isfinite, training.losses)):
            return training
        try:
            found = self._references.evaluated(cell, final, outputs, training)
        except CnnbenchError as error:  # the cell's own training went well
            what = "predictions" if training.targets else "outputs"
            self._work.note(f"the {what} of {cell.id} after training were not compared: {error}")
            return training
        return training.model_copy(update={"evaluation": found})

    def _compare(self, cells: Iterable[Cell]) -> None:
        """Sets curves against the envelope of NumPy's runs; a curve that parts at once ends its cell."""
        found = [(cell, self._work.facts.found(cell).training) for cell in cells]
        trained = [(cell, part) for cell, part in found if part is not None]
        if not trained:
            return
        if not all(part.training.envelope for _, part in trained):
            trained = self._with_envelopes(trained)
        for cell, part in trained:
            failure = wrong_training(part.training)
            if failure is not None:
                self._work.fail(cell, failure)

    def _with_envelopes(self, trained: Sequence[tuple[Cell, TrainingPart]]) -> list[tuple[Cell, TrainingPart]]:
        owner, own = next(
            ((cell, part.training) for cell, part in trained if cell.backend == NUMPY), (trained[0][0], None)
        )
        try:
            reached = self._references.envelope(owner, own)
        except CnnbenchError as error:  # the cells' own training went well
            self._work.note(f"the training curves of {owner.architecture} have no envelope: {error}")
            return list(trained)
        try:
            if any(_agreement(part.training, reached).agrees is False for _, part in trained):
                reached = self._references.with_crossings(owner, own, reached)
        except CnnbenchError as error:  # a curve that left the envelope stays outside
            self._work.note(f"no reference of {owner.architecture} was moved across kinks: {error}")
        compared = []
        for cell, part in trained:
            found = _agreement(part.training, reached).model_copy(update={"reference": owner.id if own else NUMPY})
            training = part.training.model_copy(update={"envelope": found})
            compared.append((cell, part.model_copy(update={"training": training})))
            self._work.keep(cell, "training", compared[-1][1])
        return compared

    def _request(self, cell: Cell, final: Path, outputs: Path) -> TrainRequest:
        material = self._work.facts.materials.of(cell)
        return TrainRequest(
            graph=material.graph,
            options=material.options,
            arrays=material.start,
            settings=cell_settings(self._work.facts.suite, cell),
            final=final,
            outputs=outputs,
        )

    def _trained(
        self, loaded: LoadedWorker, request: TrainRequest, on_epoch: Callable[[Epoch], None] = lambda epoch: None
    ) -> Training:
        """Trains in a worker; ``on_epoch`` receives each epoch as it ends."""
        epochs: list[Epoch] = []

        def receive(event: Event) -> None:
            if isinstance(event, EpochEvent):  # the other kind is a sign of life
                epochs.append(event.epoch)
                on_epoch(event.epoch)

        with self._work.watch.timing("training"):
            limit_s = self._work.facts.suite.timeouts.call_s
            reply = loaded.worker.ask(request, timeout_s=limit_s, on_event=receive)
        return Training(
            epochs=tuple(epochs),
            losses=reply.losses,
            predictions=reply.predictions,
            targets=reply.targets,
            target=reply.target,
            test_accuracy=epochs[-1].test_accuracy,
            peak_bytes=reply.peak_bytes,
            device_peak_bytes=reply.device_peak_bytes,
        )


def _agreement(training: Training, found: CurveEnvelope) -> CurveAgreement:
    return agreement(training.losses, training.test_accuracy, found)


def keep_examples(work: Work, cell: Cell, found: Mapping[str, Any]) -> str:
    """Leaves what a trained network made beside the record, for the pictures in the reports.

    Args:
        work: The pass.
        cell: Whose network it is.
        found: Arrays by name.

    Returns:
        The file's digest.
    """
    path = work.facts.folder(cell) / EXAMPLES_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, found)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def wrong_training(training: Training) -> Failure | None:
    """The failure that a training amounts to: a loss that is no number, a curve or predictions that are not right."""
    wrong = next((i for i, loss in enumerate(training.losses, 1) if not math.isfinite(loss)), None)
    if wrong is not None:
        return Failure(status="nan", reason=f"the training loss is not finite from step {wrong} on")
    found, envelope = training.evaluation, training.envelope
    departed = departed_failure(found)
    if departed is not None:
        return departed
    step = None if envelope is None or envelope.agrees is not False else envelope.parts_at
    if envelope is not None and step is not None:
        text = (
            f"the training loss parts from NumPy's at step {step}: {training.losses[step - 1]:.6g}, "
            f"expected {envelope.middle[step - 1]:.6g}"
        )
        return Failure(status="mismatch", reason=text)
    return None


def departed_failure(found: Evaluation | None) -> Failure | None:
    """The failure of a trained network whose outputs are not NumPy's; None where they are, or were not compared.

    Args:
        found: Of a training.
    """
    if found is None or not found.differing:
        return None
    return Failure(status="mismatch", reason=f"after training, {_departed(found)}")


def _departed(found: Evaluation) -> str:
    """In words, which images a trained network made something else of than NumPy does."""
    counts = f"{len(found.differing)} of {found.images} test images"
    where = f"with the trained weights and running statistics, the first at position {found.differing[0]}"
    if found.compared == "classes":
        return f"{counts} get another class than NumPy gives {where}"
    return (
        f"{counts} get outputs that lie more than {found.allowed:.2g} of the largest from those that NumPy gives "
        f"{where}; the farthest lies {found.largest:.2g}"
    )
