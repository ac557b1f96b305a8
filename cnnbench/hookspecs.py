"""The hooks by which plugins extend cnnbench: when each is called and by whom, what it takes and what it gives.

A hook that raises, or gives something of another type, costs nothing but itself: its plugin is named and left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pluggy

from cnnbench.offers import OfferedBackend as OfferedBackend
from cnnbench.offers import OfferedClaim as OfferedClaim
from cnnbench.offers import OfferedDataset as OfferedDataset
from cnnbench.offers import OfferedImageMetric as OfferedImageMetric
from cnnbench.offers import OfferedMetric as OfferedMetric
from cnnbench.offers import OfferedProgram as OfferedProgram
from cnnbench.offers import OfferedRecorder as OfferedRecorder
from cnnbench.offers import OfferedView as OfferedView
from cnnbench.offers import OpTable as OpTable
from cnnbench.offers import RunInfo as RunInfo

if TYPE_CHECKING:
    from cnnbench.spec.architectures import Architecture
    from cnnbench.spec.interchange.model_readers import ModelReader
    from cnnbench.spec.interchange.weight_readers import WeightReader

hookspec = pluggy.HookspecMarker("cnnbench")
hookimpl = pluggy.HookimplMarker("cnnbench")


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
def cnnbench_model_readers() -> Sequence[ModelReader]:  # type: ignore[empty-body]
    """Readers of users' own models: as a graph, and run as they are.

    Called by ``registry.model_readers`` whenever a network's name may be a reference to one (``file.py:function``,
    ``.pt2``): for the endings of files in any process; their functions run in the process that executes the user's
    code (``porting.user_code``) and nowhere else. So the hook itself imports no framework.
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
def cnnbench_views() -> Sequence[OfferedView]:  # type: ignore[empty-body]
    """Ways to look into a network.

    Called by ``views.view.views`` for ``cnnbench view``, ``cnnbench list views`` and ``cnnbench.view``.
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
