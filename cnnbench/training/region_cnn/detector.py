"""R-CNN: each proposed region is warped, run through the network, classified by linear classifiers, and moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.spec.composites.boxes import LARGEST_GROWTH
from cnnbench.training.decoders.boxes import Detections, staying
from cnnbench.training.region_cnn.network import RegionNetwork
from cnnbench.training.region_cnn.stages import StageTimes

Array = NDArray[Any]
Proposer = Callable[[Array], Array]


@dataclass(frozen=True)
class RegionRule:
    """How a region detector is trained and read.

    Args:
        background: A region that overlaps each object of a class by less is background to that class; the objects
            themselves are its examples, and regions between the two are left out.
        near: A region that overlaps an object by as much is an example of box regression.
        penalty: C of the linear classifiers.
        ridge: lambda of the box regression.
        iou_threshold: Of suppression within a class.
        score_threshold: Regions with a smaller score are left out.
        seed: Of the classifiers' solver.

    Source: arXiv:1311.2524, section 2.3, appendix B and C.
    """

    background: float = 0.3
    near: float = 0.6
    penalty: float = 1e-3
    ridge: float = 1000.0
    iou_threshold: float = 0.3
    score_threshold: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class LinearMap:
    """x -> x . weights + bias. Args: weights: (D, K). bias: (K,)."""

    weights: Array
    bias: Array

    def __call__(self, x: Array) -> Array:
        return np.asarray(x @ self.weights + self.bias)


@dataclass(frozen=True)
class RegionDetector:
    """A trained R-CNN.

    Args:
        network: Of warped crops.
        proposer: (C, H, W) -> (R, 4) boxes.
        classifiers: Of the features, by class.
        regressions: Of each class: features -> (dx, dy, dw, dh) as ``BoxEncode`` has them; None for a class without
            an example near enough.
        size: By which features are divided, so that their mean norm is 20, as the paper's classifiers take them.
        rule: How it is read.
    """

    network: RegionNetwork
    proposer: Proposer
    classifiers: LinearMap
    regressions: tuple[LinearMap | None, ...]
    size: float
    rule: RegionRule

    def detect(self, image: Array, times: StageTimes | None = None) -> Detections:
        """What is found in an image, by falling score.

        The stages are ``propose``, ``warp``, ``features``, ``classify``, ``suppress`` and ``regress``. A box is moved
        after suppression, and cut to the image.

        Args:
            image: (C, H, W).
            times: To which the seconds of each stage are added.
        """
        times = times if times is not None else StageTimes()
        times.images += 1
        with times.stage("propose"):
            boxes = self.proposer(image)
        if not len(boxes):
            return Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
        features = self.network.features(image, boxes, times)
        with times.stage("classify"):
            scores = self.classifiers(features.classified / self.size)
        with times.stage("suppress"):
            rows, classes = np.nonzero(scores >= self.rule.score_threshold)
            found = Detections(boxes[rows], scores[rows, classes], classes)
            stay = staying(found, self.rule.iou_threshold)
        with times.stage("regress"):
            found = Detections(found.boxes[stay], found.scores[stay], found.classes[stay])
            moved = self._moved(found, features.regressed[rows[stay]], image.shape[1:])
        return Detections(moved, found.scores, found.classes)

    def _moved(self, found: Detections, features: Array, image: tuple[int, ...]) -> Array:
        moved = found.boxes.copy()
        for row, kind in enumerate(found.classes):
            regression = self.regressions[kind]
            if regression is not None:
                moved[row] = decoded(regression(features[row : row + 1]), found.boxes[row : row + 1])[0]
        height, width = image
        return np.clip(moved, 0, (width, height, width, height))


def decoded(deltas: Array, boxes: Array) -> Array:
    """Boxes moved by deltas, the inverse of ``encoded`` up to the largest growth of ``BoxDecode``.

    Args:
        deltas: (dx, dy, dw, dh).
        boxes: Corners.
    """
    sizes = boxes[:, 2:] - boxes[:, :2]
    centres = boxes[:, :2] + sizes / 2 + deltas[:, :2] * sizes
    sizes = sizes * np.exp(np.minimum(deltas[:, 2:], LARGEST_GROWTH))
    return np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
