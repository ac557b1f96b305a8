"""The same detections evaluated by pycocotools, which defines the metric."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np

from cnnbench.training.metrics.detection import FoundObjects


def drawn(
    seed: int, images: int = 12, classes: int = 3
) -> tuple[list[FoundObjects], list[tuple[np.ndarray, np.ndarray]]]:
    """Random objects, some of them crowds, and detections near them and elsewhere; with their boxes."""
    from cnnbench.training.decoders.boxes import box_areas
    from cnnbench.training.metrics.overlap import box_overlap

    generator = np.random.default_rng(seed)
    found, boxes = [], []
    for _ in range(images):
        count = int(generator.integers(0, 6))
        corners = generator.uniform(0, 300, (count, 2))
        truth = np.concatenate([corners, corners + generator.uniform(5, 150, (count, 2))], 1)
        near = np.repeat(truth, 2, 0) + generator.normal(scale=8, size=(2 * count, 4))
        far = generator.uniform(0, 200, (4, 2))
        mine = np.concatenate([near, np.concatenate([far, far + generator.uniform(5, 120, (4, 2))], 1)])
        mine[:, 2:] = np.maximum(mine[:, 2:], mine[:, :2] + 1)
        true_classes = generator.integers(0, classes, count)
        guesses = np.concatenate([np.repeat(true_classes, 2), generator.integers(0, classes, 4)])
        guesses = np.where(generator.random(len(guesses)) < 0.15, generator.integers(0, classes, len(guesses)), guesses)
        crowd = generator.random(count) < 0.2
        scores = generator.random(len(mine)).round(1)  # many are equal
        overlap = box_overlap(mine, truth, crowd)
        found.append(FoundObjects(scores, guesses, box_areas(mine), true_classes, box_areas(truth), crowd, overlap))
        boxes.append((mine, truth))
    return found, boxes


def evaluated(
    found: Sequence[FoundObjects], boxes: Sequence[tuple[np.ndarray, np.ndarray]], classes: int = 3
) -> np.ndarray:
    """AP, AP50, AP75, and AP of small, medium and large objects; -1 where there is none."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def sides(box: np.ndarray) -> list[float]:
        return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]

    truth, mine = [], []
    for place, (item, (detected, true)) in enumerate(zip(found, boxes, strict=True)):
        for row, box in enumerate(true):
            known = {"bbox": sides(box), "area": float(item.true_areas[row]), "iscrowd": int(item.crowd[row])}
            truth.append(known | {"id": len(truth) + 1, "image_id": place, "category_id": int(item.true_classes[row])})
        mine += [
            {
                "image_id": place,
                "category_id": int(item.classes[row]),
                "bbox": sides(box),
                "score": float(item.scores[row]),
            }
            for row, box in enumerate(detected)
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": place} for place in range(len(found))],
            "categories": [{"id": number} for number in range(classes)],
            "annotations": truth,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(mine), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:6]
