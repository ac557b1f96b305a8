"""The training pass: the same data, batches and initial weights on every backend that trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from cnnbench.errors import CnnbenchError
from cnnbench.execution.backends import backend_plugin
from cnnbench.execution.precision import precision
from cnnbench.harness.passes.events import EpochFinished
from cnnbench.harness.passes.findings import CurvePart, Failure, Training, TrainingPart
from cnnbench.harness.passes.train_settings import train_settings
from cnnbench.harness.passes.work import Work
from cnnbench.harness.suite.cell import Cell, Key
from cnnbench.harness.suite.model import Train
from cnnbench.harness.worker.arrays import read_arrays, write_arrays
from cnnbench.harness.worker.pool import LoadedWorker, Pool
from cnnbench.harness.worker.protocol.training import EpochEvent, Event, LossesRequest, TrainRequest
from cnnbench.numerics.training_envelope import agreement, envelope, perturbed
from cnnbench.training.epoch import Epoch

EXACT = "float64"
CURVE = "training-curve-float64"  # the part that keeps the losses of the run in it
REFERENCE = "training-reference-"  # and the number: the part that keeps a perturbed run


def training_pass(work: Work, cells: Sequence[Cell], pool: Pool) -> None:
    """Trains every cell that is to be trained and has no curve yet, and compares curves that can be compared.

    Args:
        work: The pass.
        cells: All cells of the run that are not skipped.
        pool: Its workers.
    """
    settings = work.facts.suite.train
    if settings is not None:
        _TrainingPass(work, pool, settings).run(cells)


class _TrainingPass:
    def __init__(self, work: Work, pool: Pool, settings: Train) -> None:
        self._work = work
        self._pool = pool
        self._settings = settings

    def run(self, cells: Sequence[Cell]) -> None:
        training = [cell for cell in sorted(cells, key=lambda cell: cell.group) if cell.train]
        for cell in training:
            if self._work.is_open(cell) and self._work.facts.found(cell).training is None:
                spec = self._work.facts.spec(cell)
                with self._work.guarded(cell, lambda spec=spec: self._pool.peek(spec)):  # type: ignore[misc]
                    self._train(cell)
            self._work.count(self._settings.epochs)
        groups: dict[Key, list[Cell]] = {}
        for cell in training:
            if self._work.is_open(cell):  # else its record is written
                groups.setdefault(cell.training_group, []).append(cell)
        for alike in groups.values():
            self._compare(alike)

    def _train(self, cell: Cell) -> None:
        epochs = self._settings.epochs
        self._work.begin(cell, f"epoch 1 of {epochs}")
        loaded = self._pool.get(self._work.facts.spec(cell))

        def report(epoch: Epoch) -> None:
            self._work.report(EpochFinished(cell.id, epoch))
            if epoch.epoch < epochs:
                self._work.begin(cell, f"epoch {epoch.epoch + 1} of {epochs}")

        training = self._trained(loaded, self._request(cell), report)
        self._work.keep(cell, "training", TrainingPart(origin=loaded.origin(cell), training=training))
        wrong = next((i for i, loss in enumerate(training.losses, 1) if not math.isfinite(loss)), None)
        if wrong is not None:
            reason = f"the training loss is not finite from step {wrong} on"
            self._work.fail(cell, Failure(status="nan", reason=reason))

    def _compare(self, cells: Iterable[Cell]) -> None:
        """Sets curves against the envelope of reference runs on the fastest of their cells."""
        found = [(cell, self._work.facts.found(cell).training) for cell in cells]
        trained = [(cell, part) for cell, part in found if part is not None]
        if len(trained) < 2 or all(part.training.envelope for _, part in trained):
            return
        reference, base = min(trained, key=lambda pair: sum(epoch.seconds for epoch in pair[1].training.epochs))
        runs = [base.training]
        try:
            for number in range(1, self._settings.envelope_runs + 1):
                runs.append(self._perturbed_run(reference, number))
        except CnnbenchError as error:  # the cell's own training went well
            self._work.note(f"the training curves of {reference.architecture} have no envelope: {error}")
            return
        exact = self._exact_losses(reference, base.training.losses)
        reached = envelope([run.losses for run in runs], [run.test_accuracy for run in runs], exact)
        for cell, part in trained:
            facts = agreement(part.training.losses, part.training.test_accuracy, reached)
            facts |= {"reference": reference.id, "reference_runs": len(runs)}
            training = part.training.model_copy(update={"envelope": facts})
            self._work.keep(cell, "training", part.model_copy(update={"training": training}))

    def _perturbed_run(self, cell: Cell, number: int) -> Training:
        """A training run from weights that are one unit in the last place off."""
        kept = self._work.facts.found(cell).references.get(number)
        if kept is not None:
            return kept.training
        self._work.begin(cell, f"reference run {number} of {self._settings.envelope_runs}")
        loaded = self._pool.get(self._work.facts.spec(cell))
        name = f"{REFERENCE}{number}"
        path = loaded.worker.folder / f"{name}.safetensors"
        write_arrays(path, perturbed(read_arrays(self._work.facts.materials.of(cell).start), cell.seed, number))
        try:
            training = self._trained(loaded, self._request(cell, path))
        finally:
            path.unlink(missing_ok=True)
        self._work.keep(cell, name, TrainingPart(origin=loaded.origin(cell), training=training))
        return training

    def _exact_losses(self, cell: Cell, beside: Sequence[float]) -> tuple[float, ...] | None:
        """The losses of a run from the same weights in float64, until those ``beside`` have parted from them.

        None where there is no such run, or where it fails.
        """
        if cell.precision == EXACT or EXACT not in backend_plugin(cell.backend).precisions[cell.mode]:
            return None
        kept = self._work.facts.found(cell).exact_curve
        if kept is not None:
            return kept.losses
        self._work.begin(cell, "reference run in float64")
        material = self._work.facts.materials.of(cell)
        request = LossesRequest(
            graph=material.graph,
            options=replace(material.options, precision=precision(EXACT)),
            arrays=material.start,
            settings=train_settings(self._settings, cell.seed),
            beside=tuple(beside),
        )
        try:
            loaded = self._pool.get(self._work.facts.spec(cell))
            with self._work.watch.timing("training"):
                reply = loaded.worker.ask(request, timeout_s=self._work.facts.suite.timeouts.call_s)
        except CnnbenchError as error:
            architecture = cell.architecture
            self._work.note(
                f"the training curves of {architecture} are compared with a mean, not with float64: {error}"
            )
            return None
        part = CurvePart(origin=loaded.origin(cell), losses=reply.losses)
        self._work.keep(cell, CURVE, part)
        return part.losses

    def _request(self, cell: Cell, arrays: Path | None = None) -> TrainRequest:
        """Training of a cell. Args: arrays: the file of weights, unless they are the cell's own."""
        material = self._work.facts.materials.of(cell)
        return TrainRequest(
            graph=material.graph,
            options=material.options,
            arrays=arrays or material.start,
            settings=train_settings(self._settings, cell.seed),
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
            test_accuracy=epochs[-1].test_accuracy,
        )
