"""One training to be done: a backend, a network with its first weights, settings and options, and their data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cnnbench.errors import SpecError
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.measurement.installed import computing_digest
from cnnbench.spec.content import content_digest
from cnnbench.spec.graph import Graph
from cnnbench.spec.weights import digest
from cnnbench.training.data import dataset, load_dataset
from cnnbench.training.dataset import DataRequest, Dataset
from cnnbench.training.settings import TrainSettings

if TYPE_CHECKING:
    from cnnbench.execution.host import HostArrays


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """What is trained, by whom and how.

    Args:
        backend: Who trains it.
        graph: A network of one input, the image; its main output says what it learns (``targets.purpose_of``).
        arrays: Initial weights and running statistics by full name.
        settings: Data, rates, seed and the rest.
        options: Mode, precision and layout. Steps are training passes whatever they say, and evaluation is inference.
    """

    backend: Backend
    graph: Graph
    arrays: HostArrays
    settings: TrainSettings
    options: ProgramOptions

    def passes(self, *, training: bool) -> ProgramOptions:
        """The options of steps, or of evaluation."""
        return replace(self.options, training=training, fold_batch_norm=False)

    @property
    def digest(self) -> str:
        """SHA-256 of all that a checkpoint of this training must agree with, code and packages too."""
        return content_digest(
            {
                "computing": computing_digest(),
                "backend": self.backend.name,
                "network": self.graph.digest,
                "arrays": digest(self.arrays),
                "settings": self.settings,
                "options": self.passes(training=True),
                "data": dataset(self.settings.data).files_digest,
            }
        )

    @property
    def input(self) -> tuple[str, tuple[int, ...]]:
        """(name, image shape) of the network's only input. Raises SpecError where that is not what the data give."""
        graph, settings = self.graph, self.settings
        if len(graph.inputs) != 1 or not graph.inputs[0].batched:
            raise SpecError("training needs a network of one batched input", where=graph.name)
        item = graph.inputs[0]
        if settings.image is not None and settings.image != item.shape:
            raise SpecError(
                "the network takes another image", where=graph.name, received=settings.image, expected=item.shape
            )
        return item.name, item.shape

    def data(self, split: str) -> Dataset:
        """The images of ``train`` or ``test``. Raises DataError."""
        settings = self.settings
        limit = settings.train_images if split == "train" else settings.test_images
        return load_dataset(settings.data, DataRequest(split, self.input[1], limit, settings.seed))
