"""Trains what R-CNN adds to its network: a linear classifier and a box regression for each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError, UnavailableError
from cnnbench.training.decoders.boxes import overlaps
from cnnbench.training.region_cnn.detector import LinearMap, Proposer, RegionDetector, RegionRule
from cnnbench.training.region_cnn.network import RegionNetwork
from cnnbench.training.region_cnn.stages import StageTimes
from cnnbench.training.region_targets import encoded

if TYPE_CHECKING:
    from cnnbench.training.dataset import Dataset

Array = NDArray[Any]
NORM = 20.0  # of features, on average, as linear classifiers with that penalty take them
POSITIVE_WEIGHT, BIAS_SCALE = 2.0, 10.0  # of an object against background; of the constant feature


@dataclass(frozen=True)
class _Examples:
    """Regions of all images, the objects' own boxes among them.

    Args:
        classified, regressed: Features (R, D), (R, E). boxes: (R, 4).
        overlap: (R, K): with the object of each class that the region overlaps most. nearest: (R, K, 4), its box.
        is_object: (R, K), whether the region is an object's own box.
    """

    classified: Array
    regressed: Array
    boxes: Array
    overlap: Array
    nearest: Array
    is_object: NDArray[np.bool_]


def fitted(
    network: RegionNetwork, dataset: Dataset, proposer: Proposer, rule: RegionRule, times: StageTimes | None = None
) -> RegionDetector:
    """Trains the classifiers and regressions on a dataset; the network stays as it is.

    Of each class the objects are examples, and all regions that overlap each of them by less than ``rule.background``
    are background: the paper mines the hard ones among these because it cannot hold all, here all are taken. The
    classifiers are scikit-learn's linear support vector machines with the paper's penalty, weight of objects and
    constant feature; the regression is ridge regression on the regions nearest to an object.

    Args:
        network: Of warped crops.
        dataset: With the truth ``boxes`` and ``box_classes``.
        proposer: (C, H, W) -> (R, 4) boxes.
        rule: How.
        times: To which the seconds of the stages of all images are added, and of ``fit``.

    Source: arXiv:1311.2524, section 2.3 and appendix C.

    Raises:
        DataError: No boxes, or a class without an object or without background.
    """
    times = times if times is not None else StageTimes()
    examples = _examples(network, dataset, proposer, times)
    with times.stage("fit"):
        size = float(np.linalg.norm(examples.classified, axis=1).mean()) / NORM or 1.0
        maps = [_classifier(examples, kind, rule, size, dataset.classes) for kind in range(len(dataset.classes))]
        both = LinearMap(np.stack([item.weights for item in maps], 1), np.array([item.bias for item in maps]))
        regressions = tuple(_regression(examples, kind, rule) for kind in range(len(dataset.classes)))
    return RegionDetector(network, proposer, both, regressions, size, rule)


def _examples(network: RegionNetwork, dataset: Dataset, proposer: Proposer, times: StageTimes) -> _Examples:
    missing = [name for name in ("boxes", "box_classes") if name not in dataset.truth]
    if missing:
        raise DataError(f"{dataset.name} has no truth {missing[0]!r}: a detector cannot be trained on it")
    parts: list[_Examples] = []
    for image, boxes, classes in zip(dataset.images, dataset.truth["boxes"], dataset.truth["box_classes"], strict=True):
        own = np.asarray(boxes[classes >= 0], np.float64)
        with times.stage("propose"):
            regions = np.concatenate([own, proposer(image)])
        times.images += 1
        if not len(regions):
            continue
        features = network.features(image, regions, times)
        parts.append(_of_image(features.classified, features.regressed, regions, own, classes[classes >= 0], dataset))
    if not parts:
        raise DataError(f"no image of {dataset.name} has a region")
    names = ("classified", "regressed", "boxes", "overlap", "nearest", "is_object")
    return _Examples(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _of_image(
    classified: Array, regressed: Array, regions: Array, own: Array, classes: Array, dataset: Dataset
) -> _Examples:
    count = len(dataset.classes)
    shared = overlaps(regions, own)
    best, nearest = np.zeros((len(regions), count)), np.repeat(regions[:, None], count, 1)
    is_object = np.zeros((len(regions), count), bool)
    for kind in range(count):
        members = np.flatnonzero(classes == kind)
        if len(members):
            best[:, kind] = shared[:, members].max(1)
            nearest[:, kind] = own[members[shared[:, members].argmax(1)]]
            is_object[members, kind] = True
    return _Examples(classified, regressed, regions, best, nearest, is_object)


def _classifier(examples: _Examples, kind: int, rule: RegionRule, size: float, names: tuple[str, ...]) -> LinearMap:
    """(D,) and a number: the distance from the plane between objects of the class and background."""
    try:
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise UnavailableError(
            f"R-CNN's classifiers need scikit-learn: {error}", remedy="pip install scikit-learn"
        ) from error
    objects = examples.is_object[:, kind]
    chosen = objects | (examples.overlap[:, kind] < rule.background)
    if not objects.any() or objects[chosen].all():
        what = "object" if not objects.any() else "background"
        raise DataError(f"class {names[kind]!r} has no {what} among the regions", remedy="take more images")
    machine = LinearSVC(
        C=rule.penalty, loss="hinge", class_weight={True: POSITIVE_WEIGHT}, intercept_scaling=BIAS_SCALE,
        random_state=rule.seed, max_iter=10_000, tol=1e-3,
    )  # fmt: skip
    machine.fit(examples.classified[chosen] / size, objects[chosen])
    return LinearMap(np.asarray(machine.coef_[0]), np.asarray(machine.intercept_[0]))


def _regression(examples: _Examples, kind: int, rule: RegionRule) -> LinearMap | None:
    """w = (X'X + lambda I)^-1 X't of centred features and targets."""
    near = (examples.overlap[:, kind] >= rule.near) & ~examples.is_object[:, kind]
    if not near.any():
        return None
    x = examples.regressed[near]
    targets = encoded(examples.nearest[near, kind], examples.boxes[near])
    middle, mean = x.mean(0), targets.mean(0)
    centred = x - middle
    gram = centred @ centred.T + rule.ridge * np.eye(len(x))  # of the examples: they are fewer than the features
    weights = centred.T @ np.linalg.solve(gram, targets - mean)
    return LinearMap(weights, mean - middle @ weights)
