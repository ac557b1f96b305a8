"""What training curves and trained networks are held to: NumPy's runs, whoever trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnnbench.errors import UnavailableError
from cnnbench.execution.backends import backend_plugin
from cnnbench.execution.precision import precision
from cnnbench.harness.passes.findings import CurvePart, Evaluation, Training
from cnnbench.harness.passes.train_settings import cell_settings, required_settings
from cnnbench.harness.passes.work import Work
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.recipes import Train
from cnnbench.harness.worker.arrays import read_arrays, write_arrays
from cnnbench.harness.worker.pool import Pool
from cnnbench.harness.worker.protocol.training import (
    TEST_IMAGES,
    CrossingsRequest,
    EvaluateReply,
    EvaluateRequest,
    LossesRequest,
)
from cnnbench.numerics.training_envelope import (
    SURE_STEPS,
    CurveEnvelope,
    agreement,
    envelope,
    perturbed,
    rough_envelope,
)

EXACT = "float64"
NUMPY = "numpy"
MOST_STEPS = 100  # of reference runs
MOST_IMAGES = 256  # whose predictions are compared
SMALLEST_LEAD, WIDEST_LEAD = 2.0**14, 0.1  # roundoffs by which a class must lead for its prediction to be compared


@dataclass(frozen=True)
class ReferenceCurves:
    """NumPy's runs of a suite's training.

    Args:
        work: The pass.
        pool: Its workers.
    """

    work: Work
    pool: Pool

    def envelope(self, owner: Cell, own: Training | None) -> CurveEnvelope:
        """The envelope of the curves of cells that train alike.

        Args:
            owner: NumPy's cell among them, or one under which NumPy's short runs are kept.
            own: The training of NumPy's cell; None where there is no such cell, and ``SURE_STEPS`` must do.

        Raises:
            CnnbenchError: NumPy cannot train the network.
        """
        cell = owner if own else numpy_cell(owner)
        most = MOST_STEPS if own else SURE_STEPS
        if cell.precision not in backend_plugin(NUMPY).precisions[cell.mode]:
            return rough_envelope(self._exact(owner, cell, (), 1))
        base = own.losses if own else self._run(owner, cell, 0, (), most)
        exact = None if cell.precision == EXACT else self._exact(owner, cell, base, most)
        numbers = range(1, self._asked(cell).envelope_runs + 1)
        runs = [self._run(owner, cell, number, exact or base, most) for number in numbers]
        if own is None:
            return envelope([base, *runs], [], exact)
        reached = [] if own.test_accuracy is None else [own.test_accuracy]
        found = envelope(runs, reached, exact)
        if exact is not None and agreement(own.losses, own.test_accuracy, found).agrees is False:
            return found  # a wrong curve would widen the envelope that it is held to
        return envelope([base, *runs], reached, exact)

    def with_crossings(self, owner: Cell, own: Training | None, found: CurveEnvelope) -> CurveEnvelope:
        """An envelope that also admits what values move which cross a kink; asked only where a curve left it early.

        Args:
            owner: As of ``envelope``.
            own: As there.
            found: The envelope; one without a run in float64 stays as it is.

        Raises:
            CnnbenchError: NumPy cannot train the network.
        """
        cell = owner if own else numpy_cell(owner)
        if not found.exact or cell.precision not in backend_plugin(NUMPY).precisions[cell.mode]:
            return found
        self.work.begin(owner, "reference runs across kinks")
        exact = found.middle[:SURE_STEPS]
        known = self._request(cell, self.work.facts.materials.of(cell).start, (), SURE_STEPS)
        request = CrossingsRequest(
            graph=known.graph, options=known.options, arrays=known.arrays, settings=known.settings, exact=exact
        )
        with self.work.watch.timing("training"):
            worker = self.pool.get(self.work.facts.spec(cell)).worker
            reply = worker.ask(request, timeout_s=self.work.facts.suite.timeouts.call_s)
        return replace(found, crossings=reply.moves)

    def evaluated(self, cell: Cell, final: Path, outputs: Path, training: Training) -> Evaluation:
        """How NumPy's predictions with a trained network compare with those that were made after training.

        Of a classifier the classes are compared, of any other network the outputs: in each image, none may lie farther
        from NumPy's than the same share of the largest by which a class has to lead. Images on which the choices of a
        network hang on a rounding are left out and counted.

        Args:
            cell: That trained.
            final: The file of its weights and running statistics at the end.
            outputs: The file of its outputs for the test images.
            training: What it gave.

        Raises:
            CnnbenchError: NumPy cannot run the network, or outputs in this precision cannot be compared.
        """
        least = SMALLEST_LEAD * precision(cell.precision).product_roundoff
        if training.targets:
            return self._classes(cell, final, training, min(WIDEST_LEAD, least))
        if least > WIDEST_LEAD:
            raise UnavailableError(f"outputs in {cell.precision} may lie farther apart than a wrong network's")
        images = self._images(cell, len(read_arrays(outputs)[TEST_IMAGES]))
        reply = self._ask(cell, final, images, outputs, least)
        compared = {i: apart for i, apart in zip(images, reply.departures, strict=True) if i not in reply.ties}
        differing = tuple(i for i, apart in compared.items() if not apart <= least)
        return Evaluation(
            images=len(compared),
            near_ties=len(reply.ties),
            differing=differing,
            compared="outputs",
            allowed=least,
            largest=max(compared.values(), default=None),
        )

    def _asked(self, cell: Cell) -> Train:
        return required_settings(self.work.facts.suite, cell)

    def _images(self, cell: Cell, count: int) -> Sequence[int]:
        """The positions of the test images that are compared: the first ones, and those of the last batch."""
        batch = self._asked(cell).batch
        rest = count % batch or batch
        if count <= MOST_IMAGES:
            return range(count)
        return [*range(max(MOST_IMAGES - rest, 1)), *range(count - rest, count)]

    def _ask(
        self, cell: Cell, final: Path, images: Sequence[int], outputs: Path | None = None, allowed: float = 0.0
    ) -> EvaluateReply:
        """What NumPy makes of test images with a trained network."""
        on_numpy = numpy_cell(cell, mode="reference" if cell.backend == NUMPY else "fast")
        material = self.work.facts.materials.of(on_numpy)
        request = EvaluateRequest(
            graph=material.graph,
            options=replace(material.options, precision=precision("float32" if cell.precision != EXACT else EXACT)),
            arrays=final,
            settings=cell_settings(self.work.facts.suite, cell),
            images=tuple(images),
            outputs=outputs,
            allowed=allowed,
        )
        with self.work.watch.timing("training"):
            worker = self.pool.get(self.work.facts.spec(on_numpy)).worker
            return worker.ask(request, timeout_s=self.work.facts.suite.timeouts.call_s)

    def _classes(self, cell: Cell, final: Path, training: Training, least: float) -> Evaluation:
        """The comparison of the predicted classes that lead by at least so much."""
        images = self._images(cell, len(training.targets))
        reply = self._ask(cell, final, images)
        clear = [
            (i, right) for i, right, lead in zip(images, reply.predictions, reply.leads, strict=True) if lead > least
        ]
        differing = [i for i, right in clear if i >= len(training.predictions) or training.predictions[i] != right]
        return Evaluation(images=len(clear), near_ties=len(images) - len(clear), differing=tuple(differing))

    def _run(self, owner: Cell, cell: Cell, number: int, beside: Sequence[float], most: int) -> tuple[float, ...]:
        """The losses of a run from weights that are one unit in the last place off; number 0 is unperturbed."""
        kept = self.work.facts.found(owner).references.get(number)
        if kept is not None:
            return kept.losses
        material = self.work.facts.materials.of(cell)
        path = material.start
        if number:
            path = self.pool.get(self.work.facts.spec(cell)).worker.folder / f"reference-{number}.safetensors"
            write_arrays(path, perturbed(read_arrays(material.start), cell.seed, number))
        request = self._request(cell, path, beside, most)
        try:
            return self._losses(owner, cell, number, request)
        finally:
            if number:
                path.unlink(missing_ok=True)

    def _exact(self, owner: Cell, cell: Cell, beside: Sequence[float], most: int) -> tuple[float, ...]:
        """The losses of a run in float64, until those ``beside`` have parted from them."""
        kept = self.work.facts.found(owner).exact_curve
        if kept is not None:
            return kept.losses
        request = self._request(cell, self.work.facts.materials.of(cell).start, beside, most)
        request = request.model_copy(update={"options": replace(request.options, precision=precision(EXACT))})
        return self._losses(owner, cell, None, request)

    def _request(self, cell: Cell, arrays: Path, beside: Sequence[float], most: int) -> LossesRequest:
        material = self.work.facts.materials.of(cell)
        return LossesRequest(
            graph=material.graph,
            options=material.options,
            arrays=arrays,
            settings=cell_settings(self.work.facts.suite, cell),
            beside=tuple(beside),
            most=most,
        )

    def _losses(self, owner: Cell, cell: Cell, number: int | None, request: LossesRequest) -> tuple[float, ...]:
        """Runs a training on NumPy, and keeps its losses under the owner; ``number`` as ``CurvePart`` has it."""
        self.work.begin(owner, "reference run in float64" if number is None else "reference run")
        loaded = self.pool.get(self.work.facts.spec(cell))
        with self.work.watch.timing("training"):
            reply = loaded.worker.ask(request, timeout_s=self.work.facts.suite.timeouts.call_s)
        name = "training-curve-float64" if number is None else f"training-reference-{number}"
        self.work.keep(owner, name, CurvePart(origin=loaded.origin(cell), number=number, losses=reply.losses))
        return reply.losses


def numpy_cell(cell: Cell, mode: str = "fast") -> Cell:
    """A cell of the same network on NumPy, which is in no plan."""
    own = {"backend": NUMPY, "mode": mode, "device": "cpu", "layout": "auto", "fold_batch_norm": False}
    return cell.model_copy(update=own)
