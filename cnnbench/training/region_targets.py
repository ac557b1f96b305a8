"""What a two-stage detector is trained towards: anchors and proposals assigned to objects, and sampled, on the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import SpecError
from cnnbench.spec.streams import stream

Array = NDArray[Any]


@dataclass(frozen=True)
class AnchorRule:
    """Which anchors are objects, and how many are sampled.

    An anchor is an object where it overlaps one by ``positive`` or more, or where no anchor overlaps that object more
    (all of equal ones, if they overlap it at all); it is background where it overlaps each by less than ``negative``.
    The others are not sampled. Source: Faster R-CNN (arXiv:1506.01497, section 3.1.2 and 3.1.3).

    Args:
        positive, negative: Intersection over union.
        sampled: Anchors of an image.
        share: The most of them that are objects.
    """

    positive: float = 0.7
    negative: float = 0.3
    sampled: int = 256
    share: float = 0.5

    def __post_init__(self) -> None:
        _check_rule(self.sampled, self.share)
        if not 0 <= self.negative <= self.positive <= 1:
            raise SpecError("the bounds are not valid", received=(self.negative, self.positive), expected="0 to 1")


@dataclass(frozen=True)
class ProposalRule:
    """Which proposals are objects, and how many are sampled: all others are background.

    Source: Fast R-CNN (arXiv:1504.08083, section 2.3); background from an overlap of 0 on, as torchvision has it.

    Args:
        positive: Intersection over union with an object.
        sampled: Proposals of an image.
        share: The most of them that are objects.
        scales: Of the deltas, as ``BoxEncode`` has them.
    """

    positive: float = 0.5
    sampled: int = 512
    share: float = 0.25
    scales: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)

    def __post_init__(self) -> None:
        _check_rule(self.sampled, self.share)
        if not 0 < self.positive <= 1:
            raise SpecError("positive is not valid", received=self.positive, expected="more than 0, at most 1")


def _check_rule(sampled: int, share: float) -> None:
    if sampled < 1 or not 0 <= share <= 1:
        raise SpecError("the sample is not valid", received=(sampled, share), expected="1 or more, a share from 0 to 1")


def overlaps(first: Array, second: Array) -> Array:
    """Intersection over union of corners: (A, 4), (B, 4) -> (A, B); 0 where both are empty."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    whole = areas[0][:, None] + areas[1][None, :] - common
    shared: Array = np.divide(common, whole, out=np.zeros_like(common), where=whole > 0)
    return shared


def encoded(boxes: Array, anchors: Array, scales: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)) -> Array:
    """Boxes relative to anchors, as ``BoxEncode`` says; both (A, 4) and of positive sizes.

    Args:
        boxes: Corners of what should be found.
        anchors: Corners of where it is looked for.
        scales: Of x, y, width and height.
    """
    sizes, own = anchors[:, 2:] - anchors[:, :2], boxes[:, 2:] - boxes[:, :2]
    way = (boxes[:, :2] + own / 2 - anchors[:, :2] - sizes / 2) / sizes
    deltas: Array = np.concatenate([way, np.log(own / sizes)], axis=1) * np.asarray(scales)
    return deltas


def anchor_targets(
    anchors: Array, boxes: Array, counts: Array, rule: AnchorRule, seed: int, step: int = 0
) -> dict[str, Array]:
    """The targets ``anchor_labels``, ``anchor_sampled`` (N, A) and ``anchor_targets`` (N, A, 4) of ``faster_rcnn``.

    Args:
        anchors: (A, 4), the same for every image.
        boxes: (N, T, 4), an image's objects first.
        counts: (N,) objects.
        rule: Which are objects, and how many are sampled.
        seed: Of the run.
        step: Of the training; each step and each image draws from a stream of its own.
    """
    shape = (len(boxes), len(anchors))
    found = {"anchor_labels": np.zeros(shape), "anchor_sampled": np.zeros(shape)}
    targets = np.zeros((*shape, 4))
    for image, (objects, count) in enumerate(zip(boxes, counts, strict=True)):
        true = np.asarray(objects[: int(count)], np.float64)
        shared = overlaps(np.asarray(anchors, np.float64), true)
        best = shared.max(axis=1, initial=0.0)
        positive = best >= rule.positive
        if len(true):
            highest = shared.max(axis=0)
            positive |= ((shared == highest) & (highest > 0)).any(axis=1)
            chosen = shared.argmax(axis=1)
            targets[image, positive] = encoded(true[chosen[positive]], np.asarray(anchors, np.float64)[positive])
        generator = stream(seed, "anchors", str(image), step)
        kept, rest = _sampled(positive, ~positive & (best < rule.negative), rule.sampled, rule.share, generator)
        found["anchor_labels"][image, positive] = 1
        found["anchor_sampled"][image, np.concatenate([kept, rest])] = 1
    return {**found, "anchor_targets": targets}


@dataclass(frozen=True)
class Objects:
    """What is true of a batch of images.

    Args:
        boxes: (N, T, 4) corners, an image's objects first.
        classes: (N, T), from 1: 0 is the background.
        counts: (N,) objects.
    """

    boxes: Array
    classes: Array
    counts: Array


def proposal_targets(
    proposals: Array, counts: Array, objects: Objects, rule: ProposalRule, seed: int, step: int = 0
) -> Mapping[str, Array]:
    """Sampled regions and their targets: ``regions`` (N, R, 4) and what ``faster_rcnn`` takes of its heads.

    The objects themselves are among the proposals, so that there are positive ones from the first step on. Where an
    image has fewer than R, the rest are zeros that are not sampled: label -1.

    Args:
        proposals: (N, P, 4), an image's first.
        counts: (N,) proposals.
        objects: What is true.
        rule: Which are objects, and how many are sampled: R.
        seed: Of the run.
        step: Of the training; each step and each image draws from a stream of its own.
    """
    shape = (len(proposals), rule.sampled)
    found: dict[str, Array] = {
        "regions": np.zeros((*shape, 4)),
        "region_labels": np.full(shape, -1, np.int64),
        "region_positive": np.zeros(shape),
        "region_sampled": np.zeros(shape),
        "region_targets": np.zeros((*shape, 4)),
        "region_objects": np.full(shape, -1, np.int64),
    }
    for image in range(shape[0]):
        true = np.asarray(objects.boxes[image][: int(objects.counts[image])], np.float64)
        given = np.concatenate([np.asarray(proposals[image][: int(counts[image])], np.float64), true])
        given = given[(given[:, 2:] > given[:, :2]).all(axis=1)]
        shared = overlaps(given, true)
        positive = shared.max(axis=1, initial=0.0) >= rule.positive
        generator = stream(seed, "proposals", str(image), step)
        kept, rest = _sampled(positive, ~positive, rule.sampled, rule.share, generator)
        chosen, size = np.concatenate([kept, rest]), len(kept) + len(rest)
        found["regions"][image, :size] = given[chosen]
        found["region_labels"][image, :size] = 0
        found["region_sampled"][image, :size] = 1
        if len(kept):
            own = shared[kept].argmax(axis=1)
            found["region_labels"][image, : len(kept)] = objects.classes[image][own]
            found["region_positive"][image, : len(kept)] = 1
            found["region_targets"][image, : len(kept)] = encoded(true[own], given[kept], rule.scales)
            found["region_objects"][image, : len(kept)] = own
    return found


def _sampled(
    positive: Array, negative: Array, count: int, share: float, generator: np.random.Generator
) -> tuple[Array, Array]:
    """The positions of sampled positives, at most a share of all, and of as many negatives as fill the sample up."""
    kept = generator.permutation(np.flatnonzero(positive))[: int(count * share)]
    return np.sort(kept), np.sort(generator.permutation(np.flatnonzero(negative))[: count - len(kept)])
