"""Metrics by name: which fit a network and its data, and what they come to on the test images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench import registry
from cnnbench.errors import DataError, SpecError, did_you_mean
from cnnbench.spec.graph import Graph
from cnnbench.training.dataset import Dataset
from cnnbench.training.decoders.decoded import Decoded, decode
from cnnbench.training.metrics.kept import kept
from cnnbench.training.metrics.score import Score
from cnnbench.training.metrics.statistic import CONFIDENCE, Statistic, measured

__all__ = ["ImageMetric", "Score", "decoded_fields", "default_metrics", "image_metrics", "scorable", "score"]

LEAST_SCORE = 0.01  # detections that are less sure do not move an average precision
BOXES_OF_A_CELL = 2  # as ``decode`` takes them


@dataclass(frozen=True)
class ImageMetric:
    """A figure of what a network says of test images, against what is true of them.

    Args:
        name: Short: ``mean_iou``.
        decoded: The fields of ``Decoded`` that it reads.
        truth: The names of the dataset's truth that it needs.
        statistic: Of what was decoded of each image, and the dataset, in the same order.
        higher_is_better: For tables and gates.
        unit: For headings; "" for a share of 1.
        default: Whether it is taken where a suite names no metric.
        limits: Between which figures lie; an interval ends there.
        margin: How much worse it may get before gates call it a regression, where a suite names nothing.
        relative: Whether the margin is a fraction of the figure, which has no scale of its own.
    """

    name: str
    decoded: tuple[str, ...]
    truth: tuple[str, ...]
    statistic: Callable[[Sequence[Decoded], Dataset], Statistic]
    higher_is_better: bool = True
    unit: str = ""
    default: bool = True
    limits: tuple[float, float] = (0.0, 1.0)
    margin: float = 0.01
    relative: bool = False


def image_metrics() -> dict[str, ImageMetric]:
    """Every plugin's by name, the core's own first."""
    return registry.offered("cnnbench_image_metrics", ImageMetric)


def image_metric(name: str) -> ImageMetric:
    """The metric of that name; raises SpecError with the nearest name where there is none."""
    known = image_metrics()
    if name not in known:
        raise SpecError(f"unknown metric {name!r}", remedy=did_you_mean(name, known))
    return known[name]


def default_metrics(graph: Graph, dataset: Dataset) -> tuple[str, ...]:
    """The names of the metrics that fit a network and the truth of a dataset; () where none does."""
    given = decoded_fields(graph, dataset)
    return tuple(
        name
        for name, metric in image_metrics().items()
        if metric.default and set(metric.decoded) <= given and set(metric.truth) <= set(dataset.truth)
    )


def decoded_fields(graph: Graph, dataset: Dataset) -> frozenset[str]:
    """What ``scorable`` gives of a network's outputs, as far as it is of the same kind as the dataset's truth."""
    shapes = {name: graph.shapes()[value] for name, value in graph.outputs}
    if "cells" in shapes:
        is_alike = shapes["cells"][3] == 5 * BOXES_OF_A_CELL + len(dataset.classes)
        return frozenset({"detections"} if is_alike else ())
    if {"boxes", "scores", "counts"} <= set(shapes):
        return frozenset({"detections", "masks"} if "masks" in shapes else {"detections"})
    if "heatmaps" in shapes:
        points = len(dataset.names.get("keypoints", ()))
        return frozenset({"keypoints"} if shapes["heatmaps"][1] in (points, points + 1) else ())
    if "tokens" in shapes:
        return frozenset({"words"} if len(shapes["tokens"]) == 2 else ())
    return _of_pictures(graph, shapes, dataset)


def _of_pictures(graph: Graph, shapes: Mapping[str, Any], dataset: Dataset) -> frozenset[str]:
    image = tuple(dataset.images.shape[1:])
    takes_images = [item.shape for item in graph.inputs] == [image]
    if "image" in shapes:
        return frozenset({"picture"} if takes_images and shapes["image"][1:] == image else ())
    logits: tuple[int, ...] = shapes.get("logits", ())
    if len(logits) == 4 and {"mean", "log_variance"} <= set(shapes):
        return frozenset({"picture"} if takes_images and logits[1:] == image else ())
    if len(logits) == 4:
        return frozenset({"pixels"} if 1 < logits[1] == len(dataset.names.get("segmentation", ())) else ())
    main: tuple[int, ...] = shapes[graph.outputs[0][0]] if graph.outputs else ()
    return frozenset({"label"} if len(main) == 2 and main[1] >= len(dataset.classes) > 1 else ())


def scorable(outputs: Mapping[str, NDArray[Any]], size: tuple[int, int], main: str = "logits") -> list[Decoded]:
    """What metrics read of outputs: decoded by their meaning, or the class of the largest value of the main output.

    Args:
        outputs: By name.
        size: Height and width of the images, in pixels.
        main: The name of the main output.
    """
    found = decode(outputs, size, LEAST_SCORE)
    if found or outputs[main].ndim != 2:
        return found
    return [Decoded(label=int(label)) for label in outputs[main].argmax(1)]


def score(
    names: Sequence[str], decoded: Sequence[Decoded], dataset: Dataset, *, intervals: bool = True
) -> tuple[Score, ...]:
    """What metrics come to; one that raises is named and left out.

    Args:
        names: Of metrics.
        decoded: What was found in each image; see ``scorable``.
        dataset: The same images in the same order, with their truth.
        intervals: Whether intervals and what each image contributed are wanted; without them it is fast.

    Raises:
        SpecError: An unknown metric.
        DataError: Other images, or what a metric needs is not there.
    """
    if len(decoded) != len(dataset):
        raise DataError("each image has to be decoded", received=len(decoded), expected=len(dataset))
    metrics = [image_metric(name) for name in names]
    for metric in metrics:
        _check_given(metric, decoded, dataset)
    found = (
        registry.left_out(lambda metric=metric: _score(metric, decoded, dataset, intervals), f"metric {metric.name!r}")  # type: ignore[misc]
        for metric in metrics
    )
    return tuple(item for item in found if item is not None)


def _check_given(metric: ImageMetric, decoded: Sequence[Decoded], dataset: Dataset) -> None:
    lacking = [name for name in metric.decoded if any(getattr(item, name) is None for item in decoded)]
    untold = [name for name in metric.truth if name not in dataset.truth]
    if lacking or untold:
        what = f"the network gives no {lacking[0]}" if lacking else f"{dataset.name} has no truth {untold[0]!r}"
        raise DataError(f"{metric.name} cannot be computed: {what}")


def _score(metric: ImageMetric, decoded: Sequence[Decoded], dataset: Dataset, intervals: bool) -> Score:
    statistic = metric.statistic(decoded, dataset)
    facts: dict[str, Any] = {
        "metric": metric.name,
        "images": len(statistic),
        "higher_is_better": metric.higher_is_better,
        "unit": metric.unit,
        "confidence": CONFIDENCE,
    }
    figure = statistic.of(np.arange(len(statistic)))
    if metric.relative:
        facts["margin"] = metric.margin * abs(figure) if math.isfinite(figure) else 0.0
    else:
        facts["margin"] = metric.margin
    if not intervals:
        return Score(value=_defined(figure), **facts)
    found = measured(statistic)
    low, high = np.clip((found.low, found.high), *metric.limits)
    value, low, high = map(_defined, (found.value, float(low), float(high)))
    return Score(value=value, low=low, high=high, per_image=kept(statistic), **facts)


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None
