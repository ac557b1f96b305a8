"""The hooks by which plugins extend cnnbench: when each is called and by whom, what it takes and what it gives.

A hook that raises, or gives something of another type, costs nothing but itself: its plugin is named and left out.
The protocols below say what is used of values whose classes belong to later rooms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pluggy

if TYPE_CHECKING:
    from cnnbench.spec.architectures import Architecture
    from cnnbench.spec.interchange.weight_readers import WeightReader

hookspec = pluggy.HookspecMarker("cnnbench")
hookimpl = pluggy.HookimplMarker("cnnbench")

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


@hookspec
def cnnbench_backends() -> Sequence[OfferedBackend]:  # type: ignore[empty-body]
    """Backends by name, described without importing their framework.

    Called by ``execution.backends`` whenever a backend is looked up: by plans, listings and ``doctor``, in the run's
    own process, and in each worker before it loads the one that it serves.
    """


@hookspec
def cnnbench_architectures() -> Sequence[Architecture]:  # type: ignore[empty-body]
    """Named networks.

    Called by ``registry.architectures`` whenever a network is looked up by name, and for ``cnnbench list``.
    """


@hookspec
def cnnbench_operations(backend: str, operations: OpTable) -> None:
    """Registers ops for layer kinds of the plugin's own.

    Called by ``execution.backends.load_backend`` for every plugin, each time that a backend is loaded. Without it a
    backend has ops for the core's kinds only; a composite kind needs none.

    Args:
        backend: The name of the backend that is being loaded.
        operations: Its ops so far. What a plugin adds counts once it returns; where it raises nothing of it does.
    """


@hookspec
def cnnbench_datasets() -> Sequence[OfferedDataset]:  # type: ignore[empty-body]
    """Named datasets, loaded only when used.

    Called by ``training.data`` whenever a dataset is looked up by name: by plans, checks, training and listings.
    """


@hookspec
def cnnbench_weight_readers() -> Sequence[WeightReader]:  # type: ignore[empty-body]
    """Readers of weight files by suffix.

    Called by ``registry.weight_readers`` whenever a file of weights is read: ``weights`` of a suite, ``cnnbench
    weights`` and ``predict``. A reader that is registered later replaces an earlier one for the same suffix.
    """


@hookspec
def cnnbench_metrics() -> Sequence[OfferedMetric]:  # type: ignore[empty-body]
    """Figures derived from a cell's record, shown in tables and logged.

    Called by ``harness.run.hooks`` once a run, before its first record, and by reports for the units. Each metric's
    ``compute`` is called with every record before it is written.
    """


@hookspec
def cnnbench_image_metrics() -> Sequence[OfferedImageMetric]:  # type: ignore[empty-body]
    """Figures of what a network says of test images: mean intersection over union, average precision and the like.

    Called by ``training.metrics.registry`` whenever a metric is looked up: in a worker that evaluates a training.
    """


@hookspec
def cnnbench_training_programs() -> Sequence[OfferedProgram]:  # type: ignore[empty-body]
    """Programs that train several networks at once, or one with inputs that are drawn.

    Called by ``training.programs.offered`` whenever a program is looked up by name: by plans, passes and listings, in
    the run's own process. Workers receive a program as data and need no plugin.
    """


@hookspec
def cnnbench_claims() -> Sequence[OfferedClaim]:  # type: ignore[empty-body]
    """Statements with the experiments that try them.

    Called by ``claims.claim.claims`` for ``cnnbench claims`` and ``cnnbench.examine_claims``.
    """


@hookspec
def cnnbench_recorders() -> Mapping[str, OfferedRecorder]:  # type: ignore[empty-body]
    """Where records go beside the run's folder, by name.

    Called by ``cnnbench.run`` and its like, and by ``cnnbench.log``. Their methods are called in the run's
    own process, after what they receive is on disk.
    """


@hookspec
def cnnbench_run_started(run: RunInfo) -> None:
    """Called by ``harness.run.hooks`` once a run's folder exists and before the first cell; again by ``--resume``.

    Args:
        run: The run; its plan and environment are on disk.
    """


@hookspec
def cnnbench_run_finished(run: RunInfo) -> None:
    """Called by ``harness.run.hooks`` once after the last cell's record and the summary are on disk.

    Args:
        run: The run, with its records (``run.records``) and its summary (``run.summary``).
    """
