"""What is used of the values that plugins give to hooks; their classes belong to later rooms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

_Op = TypeVar("_Op", bound=Callable[..., Any])


class OfferedBackend(Protocol):
    """A ``cnnbench.execution.contract.BackendPlugin``."""

    @property
    def name(self) -> str:
        """What suites and ``-b`` call it."""

    @property
    def load(self) -> Callable[[], Any]:
        """Imports the framework and gives the backend."""

    def unavailable(self) -> str | None:
        """Why it cannot be used here, or None."""


class OpTable(Protocol):
    """A ``cnnbench.execution.operations.Operations``: the ops of one backend by layer kind."""

    def register(self, kind: str, *, backward: Callable[..., Any] | None = None) -> Callable[[_Op], _Op]:
        """A decorator that makes a function the op of a kind; ``backward`` is for the NumPy backend."""

    def __contains__(self, kind: object) -> bool:
        """Whether the backend has an op for a kind."""


class OfferedDataset(Protocol):
    """A ``cnnbench.training.dataset.DatasetPlugin``."""

    @property
    def name(self) -> str:
        """What suites call it."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that it can load, the one for inputs of timed cells last."""

    @property
    def load(self) -> Callable[[Any], Any]:
        """(``DataRequest``) -> ``Dataset``."""


class OfferedMetric(Protocol):
    """A ``cnnbench.harness.run.extensions.Metric``."""

    @property
    def name(self) -> str:
        """Short, with its unit."""

    @property
    def compute(self) -> Callable[[Any], float | None]:
        """(``Record``) -> the figure, or None where the record has not what it needs."""


class OfferedImageMetric(Protocol):
    """A ``cnnbench.training.metrics.registry.ImageMetric``."""

    @property
    def name(self) -> str:
        """What suites and tables call it."""

    @property
    def statistic(self) -> Callable[[Sequence[Any], Any], Any]:
        """(what was decoded of each image, ``Dataset``) -> ``Statistic``."""


class OfferedProgram(Protocol):
    """A ``cnnbench.training.programs.offered.ProgramPlugin``."""

    @property
    def name(self) -> str:
        """What suites call it."""

    @property
    def architecture(self) -> str:
        """The registered network whose cells it trains."""

    @property
    def build(self) -> Callable[[], Any]:
        """(shape of an input of that network, None for its own) -> ``TrainingProgram``."""


class OfferedClaim(Protocol):
    """A ``cnnbench.claims.claim.NetworkClaim``."""

    @property
    def name(self) -> str:
        """What the command line calls it."""

    @property
    def experiment(self) -> Callable[[Any], Iterable[Any]]:
        """(``Laboratory``) -> the figures, each a ``ClaimEvidence``."""


class OfferedRecorder(Protocol):
    """A ``cnnbench.harness.run.extensions.Recorder``."""

    def started(self, run: Any) -> None:
        """Once, before the first cell."""

    def recorded(self, record: Any, folder: Path) -> None:
        """Once for each cell, after its record is on disk."""

    def finished(self, run: Any) -> Mapping[str, str]:
        """Once, after the last cell; gives links to show."""


class RunInfo(Protocol):
    """What a run's hooks may count on; the values are a ``StartedRun`` and a ``FinishedRun``."""

    @property
    def id(self) -> str:
        """``<utc>-<random>``, the folder's name."""

    @property
    def folder(self) -> Path:
        """Where everything is written."""

    @property
    def plan(self) -> Any:
        """The ``Plan`` that is run."""

    @property
    def environment(self) -> Mapping[str, Any]:
        """As in ``environment.json``."""


class OfferedView(Protocol):
    """A ``cnnbench.views.view.NetworkView``."""

    @property
    def name(self) -> str:
        """What the command line calls it."""

    @property
    def make(self) -> Callable[[Any, Any], Any]:
        """(``ViewedNetwork``, ``ViewRequest``) -> ``ViewResult``."""
