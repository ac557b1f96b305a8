"""What a network says of each image, decoded by what its outputs mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.training.datasets.figures import KEYPOINTS, LIMBS
from cnnbench.training.decoders.boxes import Detections, YoloGrid, detections_of
from cnnbench.training.decoders.keypoints import keypoints_of
from cnnbench.training.decoders.masks import pasted
from cnnbench.training.decoders.persons import COCO_LIMBS, Limb, PersonDecoder
from cnnbench.training.decoders.segmentation import classes_of_pixels

Array = NDArray[Any]
# By the number of maps (keypoints and the background): the limbs, whose fields lie in this order in drawn figures.
BODIES = {19: COCO_LIMBS, len(KEYPOINTS) + 1: tuple(Limb(*ends, field) for field, ends in enumerate(LIMBS))}


@dataclass(frozen=True)
class Decoded:
    """One image; what a network does not give is None.

    Args:
        detections: By falling score. masks: (M, H, W) of these.
        pixels: The class of each, (H, W).
        keypoints: (P, K, 3) as x, y, score, of each person; zeros where one is missing.
        limbs: Pairs of keypoints that are joined.
        words: Numbers of words up to the end.
        picture: (C, H, W).
        label: The class of the image. probabilities: (K,) of its classes; of a generated picture, by a classifier that
            judges it.
        features: (F,) of the picture in such a classifier.
    """

    detections: Detections | None = None
    masks: NDArray[np.bool_] | None = None
    pixels: NDArray[np.int64] | None = None
    keypoints: Array | None = None
    limbs: tuple[tuple[int, int], ...] = ()
    words: tuple[int, ...] | None = None
    picture: Array | None = None
    label: int | None = None
    probabilities: Array | None = None
    features: Array | None = None

    def lines(self) -> list[str]:
        """In words, one line for each thing."""
        found: list[str] = []
        if self.detections is not None:
            rows = zip(self.detections.boxes, self.detections.scores, self.detections.classes, strict=True)
            found += [
                f"class {kind} at {' '.join(f'{corner:.1f}' for corner in box)}, score {score:.3f}"
                for box, score, kind in rows
            ] or ["nothing found"]
        if self.pixels is not None:
            kinds, counts = np.unique(self.pixels, return_counts=True)
            shares = (f"class {kind} {count / self.pixels.size:.1%}" for kind, count in zip(kinds, counts, strict=True))
            found.append(f"pixels: {', '.join(shares)}")
        for number, person in enumerate(() if self.keypoints is None else self.keypoints):
            seen = person[person[:, 2] > 0]
            mean = f", mean score {seen[:, 2].mean():.3f}" if len(seen) else ""
            found.append(f"person {number}: {len(seen)} of {len(person)} keypoints{mean}")
        if self.keypoints is not None and not len(self.keypoints):
            found.append("no person found")
        if self.words is not None:
            found.append(f"words: {' '.join(map(str, self.words)) or '(none)'}")
        if self.picture is not None:
            size = "x".join(map(str, self.picture.shape))
            found.append(f"picture {size}, values from {self.picture.min():.3f} to {self.picture.max():.3f}")
        if self.label is not None:
            found.append(f"class {self.label}")
        return found


def decode(outputs: Mapping[str, Array], size: tuple[int, int], score_threshold: float = 0.2) -> list[Decoded]:
    """What outputs of declared meaning say of each image; [] where they say what only classes or losses read.

    Args:
        outputs: By name, as ``spec.meanings`` declares them.
        size: Height and width of the images, in pixels.
        score_threshold: Detections that are less sure are left out.
    """
    if "cells" in outputs:
        grid = YoloGrid(*size, score_threshold=score_threshold)
        return [Decoded(detections=found) for found in grid.decode(outputs["cells"])]
    if {"boxes", "scores", "counts"} <= set(outputs):
        return _detections(outputs, size, score_threshold)
    if "heatmaps" in outputs:
        return _keypoints(outputs, size)
    if "tokens" in outputs and outputs["tokens"].ndim == 2:
        return [Decoded(words=tuple(int(word) for word in row[: _end(row)])) for row in outputs["tokens"]]
    if "image" in outputs:
        return [Decoded(picture=picture) for picture in outputs["image"]]
    logits = outputs.get("logits", np.zeros(0))
    if logits.ndim == 4 and {"mean", "log_variance"} <= set(outputs):  # of an autoencoder: of the values of a picture
        with np.errstate(over="ignore"):
            return [Decoded(picture=picture) for picture in 1 / (1 + np.exp(-logits))]
    if logits.ndim == 4 and logits.shape[1] > 1:
        return [Decoded(pixels=pixels) for pixels in classes_of_pixels(logits)]
    return []


def _detections(outputs: Mapping[str, Array], size: tuple[int, int], score_threshold: float) -> list[Decoded]:
    found = []
    for i, detections in enumerate(detections_of(outputs)):
        kept = detections.scores >= score_threshold
        sure = Detections(detections.boxes[kept], detections.scores[kept], detections.classes[kept])
        masks = None
        if "masks" in outputs:
            masks = pasted(outputs["masks"][i][: len(detections)][kept], sure.boxes, size)
        found.append(Decoded(detections=sure, masks=masks))
    return found


def _keypoints(outputs: Mapping[str, Array], size: tuple[int, int]) -> list[Decoded]:
    heatmaps, fields = outputs["heatmaps"], outputs.get("fields")
    stride = size[1] / heatmaps.shape[3]
    if fields is None:
        joined = LIMBS if heatmaps.shape[1] == len(KEYPOINTS) else ()  # of other bodies they are not known here
        return [Decoded(keypoints=found[None], limbs=joined) for found in keypoints_of(heatmaps, stride)]
    limbs = BODIES.get(heatmaps.shape[1], ())
    if fields.shape[1] != 2 * len(limbs):
        return []  # of other bodies the limbs are not known here
    pairs = tuple((limb.first, limb.last) for limb in limbs)
    persons = PersonDecoder(limbs, stride=stride).decode(heatmaps, fields)
    return [Decoded(keypoints=found, limbs=pairs) for found in persons]


def _end(row: Array) -> int:
    ends = np.flatnonzero(row == 0)
    return int(ends[0]) if len(ends) else len(row)
