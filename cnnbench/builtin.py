"""The core's own plugin: what it ships for each hook, registered like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cnnbench.hookspecs import hookimpl

if TYPE_CHECKING:
    from cnnbench import hookspecs
    from cnnbench.claims.claim import NetworkClaim
    from cnnbench.execution.contract import BackendPlugin
    from cnnbench.execution.operations import Operations
    from cnnbench.harness.run.extensions import FinishedRun, Metric, Recorder, StartedRun
    from cnnbench.spec.architectures import Architecture
    from cnnbench.spec.interchange.weight_readers import WeightReader
    from cnnbench.training.dataset import DatasetPlugin
    from cnnbench.training.metrics.registry import ImageMetric
    from cnnbench.training.programs.offered import ProgramPlugin
    from cnnbench.views.view import NetworkView


@hookimpl
def cnnbench_architectures() -> Sequence[Architecture]:
    """The networks of ``cnnbench/spec/architectures``, one family a module."""
    from cnnbench.spec.architectures import shipped

    return shipped()


@hookimpl
def cnnbench_weight_readers() -> Sequence[WeightReader]:
    """Safetensors; PyTorch's and Keras' files belong to their backends' plugins."""
    from cnnbench.spec.interchange.weight_readers import SAFETENSORS

    return (SAFETENSORS,)


@hookimpl
def cnnbench_datasets() -> Sequence[DatasetPlugin]:
    """Data that needs no download: digits, photographs, Fashion-MNIST where Debian's package is, drawings, numbers."""
    from cnnbench.training.datasets.digit_defects import DIGITS_ANOMALY
    from cnnbench.training.datasets.digit_domains import DIGITS_A, DIGITS_B
    from cnnbench.training.datasets.digits import DIGITS
    from cnnbench.training.datasets.figures import FIGURES, FIGURES_SEVERAL
    from cnnbench.training.datasets.idx import FASHION_MNIST
    from cnnbench.training.datasets.noise import RANDOM
    from cnnbench.training.datasets.photographs import (
        PHOTOGRAPHS_DATASET,
        PHOTOGRAPHS_EFFICIENTNET_LITE,
        PHOTOGRAPHS_IMAGENET,
    )
    from cnnbench.training.datasets.shapes import SHAPES

    photographs = (PHOTOGRAPHS_DATASET, PHOTOGRAPHS_EFFICIENTNET_LITE, PHOTOGRAPHS_IMAGENET)
    digits = (DIGITS, DIGITS_A, DIGITS_B, DIGITS_ANOMALY)
    return (*digits, *photographs, FASHION_MNIST, RANDOM, SHAPES, FIGURES, FIGURES_SEVERAL)


@hookimpl
def cnnbench_metrics() -> Sequence[Metric]:
    """Multiply-accumulates per second."""
    from cnnbench.output.metrics import shipped

    return shipped()


@hookimpl
def cnnbench_image_metrics() -> Sequence[ImageMetric]:
    """Of classes, pixels, boxes, masks, keypoints, captions, pictures and anomalies."""
    from cnnbench.training.metrics.shipped import SHIPPED

    return SHIPPED


@hookimpl
def cnnbench_training_programs() -> Sequence[ProgramPlugin]:
    """Autoencoders, adversaries and a diffusion model, small enough to be trained here."""
    from cnnbench.training.programs.shipped import SHIPPED

    return SHIPPED


@hookimpl
def cnnbench_claims() -> Sequence[NetworkClaim]:
    """The notes' statements."""
    from cnnbench.claims import arithmetic, depth, generalization, images, normalization, signals, style

    rooms = (arithmetic, images, signals, depth, normalization, generalization, style)
    return [claim for room in rooms for claim in room.CLAIMS]


@hookimpl
def cnnbench_views() -> Sequence[NetworkView]:
    """The notes' views, Grad-CAM and integrated gradients."""
    from cnnbench.views.shipped import SHIPPED

    return SHIPPED


@hookimpl
def cnnbench_recorders() -> Mapping[str, Recorder]:
    """JSON lines in the run's folder, and MLflow."""
    from cnnbench.output.recorders.jsonl import JsonlRecorder
    from cnnbench.output.recorders.mlflow import MlflowRecorder

    return {"jsonl": JsonlRecorder(), "mlflow": MlflowRecorder()}


@hookimpl
def cnnbench_run_started(run: StartedRun) -> None:
    """Sweeps the scratch folders that killed runs left behind."""
    from cnnbench.harness.worker.scratch import sweep

    sweep()


@hookimpl
def cnnbench_run_finished(run: FinishedRun) -> None:
    """Appends the result to the summary of a GitHub Actions job, where there is one."""
    from cnnbench.output.github_summary import append_summary, is_wanted

    if not is_wanted():
        return
    from cnnbench.output.markdown import render_markdown
    from cnnbench.output.reports import read_report

    append_summary(render_markdown(read_report(run.folder)))


if TYPE_CHECKING:  # the classes are what the hooks' protocols say of them

    def _is_offered_backend(value: BackendPlugin) -> hookspecs.OfferedBackend:
        return value

    def _is_op_table(value: Operations) -> hookspecs.OpTable:
        return value

    def _is_offered_dataset(value: DatasetPlugin) -> hookspecs.OfferedDataset:
        return value

    def _is_offered_metric(value: Metric) -> hookspecs.OfferedMetric:
        return value

    def _is_offered_image_metric(value: ImageMetric) -> hookspecs.OfferedImageMetric:
        return value

    def _is_offered_program(value: ProgramPlugin) -> hookspecs.OfferedProgram:
        return value

    def _is_offered_view(value: NetworkView) -> hookspecs.OfferedView:
        return value

    def _is_offered_recorder(value: Recorder) -> hookspecs.OfferedRecorder:
        return value

    def _are_run_info(started: StartedRun, finished: FinishedRun) -> tuple[hookspecs.RunInfo, hookspecs.RunInfo]:
        return started, finished
