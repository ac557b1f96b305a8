"""The hooks by which plugins extend cnnbench. Each is typed, has a shipped implementation and a README row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from cnnbench.execution.contract import BackendPlugin
    from cnnbench.execution.operations import Operations
    from cnnbench.harness.run.extensions import FinishedRun, Metric, Recorder, StartedRun
    from cnnbench.spec.architectures import Architecture
    from cnnbench.spec.interchange.weight_files import WeightReader
    from cnnbench.training.data import DatasetPlugin

hookspec = pluggy.HookspecMarker("cnnbench")
hookimpl = pluggy.HookimplMarker("cnnbench")


@hookspec
def cnnbench_backends() -> Sequence[BackendPlugin]:  # type: ignore[empty-body]
    """Backends by name, described without importing their framework."""


@hookspec
def cnnbench_architectures() -> Sequence[Architecture]:  # type: ignore[empty-body]
    """Named networks."""


@hookspec
def cnnbench_operations(backend: str, operations: Operations) -> None:
    """Registers ops for kinds of the plugin's own when ``backend`` loads."""


@hookspec
def cnnbench_datasets() -> Sequence[DatasetPlugin]:  # type: ignore[empty-body]
    """Named datasets, loaded only when used."""


@hookspec
def cnnbench_weight_readers() -> Sequence[WeightReader]:  # type: ignore[empty-body]
    """Readers of weight files by suffix."""


@hookspec
def cnnbench_metrics() -> Sequence[Metric]:  # type: ignore[empty-body]
    """Figures derived from a cell's record, shown in tables and logged."""


@hookspec
def cnnbench_recorders() -> Mapping[str, Recorder]:  # type: ignore[empty-body]
    """Where records go beside the run's folder, by name."""


@hookspec
def cnnbench_run_started(run: StartedRun) -> None:
    """Called once a run's folder exists and before the first cell."""


@hookspec
def cnnbench_run_finished(run: FinishedRun) -> None:
    """Called once after the last cell's record is on disk."""
