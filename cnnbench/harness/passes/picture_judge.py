"""Judges pictures that trained networks made, by a classifier that NumPy trains on the same data, once for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnbench import registry
from cnnbench.errors import UnavailableError
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.host import grouped
from cnnbench.execution.precision import precision
from cnnbench.harness.passes.reference_curves import numpy_cell
from cnnbench.harness.passes.work import Work
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.worker.arrays import read_arrays, write_arrays
from cnnbench.harness.worker.pool import Pool
from cnnbench.harness.worker.protocol.checks import ForwardRequest
from cnnbench.harness.worker.protocol.training import EpochEvent, Event, TrainRequest
from cnnbench.spec.graph import Graph
from cnnbench.spec.optimizers import Adam
from cnnbench.spec.weights import initialize
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest, Dataset
from cnnbench.training.datasets.pictures import resize
from cnnbench.training.decoders.decoded import Decoded
from cnnbench.training.metrics.registry import score
from cnnbench.training.metrics.score import Score
from cnnbench.training.schedules import Cosine
from cnnbench.training.settings import TrainSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

NETWORK, SIDE, FEATURES = "lenet5", 32, "features"
EPOCHS, BATCH, RATE = 12, 32, 1e-3
LEAST_ACCURACY = 0.95  # of a classifier that may judge
METRICS = ("recognised", "covered_classes", "frechet_distance")


@dataclass(frozen=True)
class _Judge:
    """A trained classifier. Args: lowest, highest: of the values that it was trained on."""

    graph: Graph
    arrays: Mapping[str, Array]
    lowest: float
    highest: float


class PictureJudge:
    """Scores pictures by what a classifier makes of them.

    Args:
        work: The pass.
        pool: Its workers; NumPy's trains and runs the classifier.
    """

    def __init__(self, work: Work, pool: Pool) -> None:
        self._work, self._pool = work, pool
        self._known: dict[tuple[Any, ...], _Judge] = {}

    def scores(self, cell: Cell, data: str, pictures: Array, values: tuple[float, float]) -> tuple[Score, ...]:
        """How many pictures are recognised as a class, how many classes occur, and how far they are from real ones.

        Args:
            cell: Whose networks made them.
            data: The dataset that these were trained on.
            pictures: (N, C, H, W).
            values: The smallest and the largest value of a picture.

        Raises:
            CnnbenchError: The dataset has no classes, or the classifier cannot be trained, or not well enough.
        """
        judge = self._judge(cell, data, pictures.shape[1])
        real = _load(data, cell, "test", pictures.shape[1])
        real = real.take(np.arange(min(len(real), len(pictures))))
        shares = (resize(pictures[: len(real)].astype(np.float64), SIDE, SIDE) - values[0]) / (values[1] - values[0])
        made = judge.lowest + shares * (judge.highest - judge.lowest)
        judged, known = (self._outputs(cell, judge, images) for images in (made, real.images))
        truth = replace(real, truth={FEATURES: known[FEATURES]})
        logits = judged[judge.graph.outputs[0][0]].astype(np.float64)
        powers = np.exp(logits - logits.max(1, keepdims=True))
        rows = zip(powers / powers.sum(1, keepdims=True), judged[FEATURES], strict=True)
        return score(METRICS, [Decoded(probabilities=row, features=features) for row, features in rows], truth)

    def _judge(self, cell: Cell, data: str, channels: int) -> _Judge:
        """The classifier of a dataset, trained when it is first asked for."""
        key = (data, channels, cell.seed)
        if key not in self._known:
            images = _load(data, cell, "train", channels)
            if len(images.classes) < 2:
                raise UnavailableError(f"the dataset {data!r} has no classes by which pictures could be judged")
            graph = registry.build(NETWORK, image=(channels, SIDE, SIDE), num_classes=len(images.classes))
            arrays = self._trained(cell, graph, data)
            lowest, highest = float(images.images.min()), float(images.images.max())
            self._known[key] = _Judge(_with_features(graph), arrays, lowest, highest)
        return self._known[key]

    def _trained(self, cell: Cell, graph: Graph, data: str) -> dict[str, Array]:
        self._work.begin(cell, f"training of the classifier that judges pictures of {data}")
        worker = self._pool.get(self._work.facts.spec(numpy_cell(cell))).worker
        start, final, outputs = (worker.folder / f"judge-{name}.safetensors" for name in ("start", "final", "outputs"))
        reached: list[float] = []

        def receive(event: Event) -> None:
            if isinstance(event, EpochEvent):
                reached.append(event.epoch.test_accuracy or 0.0)

        settings = TrainSettings(
            data=data,
            epochs=EPOCHS,
            batch=BATCH,
            optimizer=Adam(),
            learning_rate=RATE,
            schedule=Cosine(),
            seed=cell.seed,
        )
        try:
            write_arrays(start, initialize(graph, cell.seed))
            request = TrainRequest(
                graph=graph, options=_OPTIONS, arrays=start, settings=settings, final=final, outputs=outputs
            )
            worker.ask(request, timeout_s=self._work.facts.suite.timeouts.call_s, on_event=receive)
            arrays = {name: np.array(array) for name, array in read_arrays(final).items()}
        finally:
            for path in (start, final, outputs):
                path.unlink(missing_ok=True)
        if not reached or reached[-1] < LEAST_ACCURACY:
            text = f"a {NETWORK} reaches {reached[-1] if reached else 0:.1%} on {data}, too little to judge pictures by"
            raise UnavailableError(text)
        return arrays

    def _outputs(self, cell: Cell, judge: _Judge, images: Array) -> dict[str, Array]:
        worker = self._pool.get(self._work.facts.spec(numpy_cell(cell))).worker
        arrays, batch, output = (worker.folder / f"judged-{name}.safetensors" for name in ("arrays", "batch", "output"))
        try:
            write_arrays(arrays, judge.arrays)
            write_arrays(batch, {judge.graph.inputs[0].name: np.ascontiguousarray(images, np.float32)})
            request = ForwardRequest(graph=judge.graph, options=_OPTIONS, arrays=arrays, batch=batch, output=output)
            worker.ask(request, timeout_s=self._work.facts.suite.timeouts.call_s)
            return {name: np.array(array) for name, array in grouped(read_arrays(output))["outputs"].items()}
        finally:
            for path in (arrays, batch, output):
                path.unlink(missing_ok=True)


_OPTIONS = ProgramOptions("fast", precision("float32"))


def _load(data: str, cell: Cell, split: str, channels: int) -> Dataset:
    return load_dataset(data, DataRequest(split, (channels, SIDE, SIDE), None, cell.seed))


def _with_features(graph: Graph) -> Graph:
    """The classifier with what its last layer reads as a further output."""
    return replace(graph, outputs=(*graph.outputs, (FEATURES, graph.nodes[-1].inputs[0])))
