"""Average precision of masks and of keypoints beside pycocotools, which defines it, from a dataset's truth."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest

from cnnbench.training.dataset import Dataset
from cnnbench.training.decoders.boxes import Detections
from cnnbench.training.decoders.decoded import Decoded
from cnnbench.training.metrics.registry import score

SIZE, IMAGES, ROWS, POINTS = 48, 10, 4, 17
BODY = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip


def dataset_of(truth: dict[str, Any], classes: tuple[str, ...]) -> Dataset:
    images, labels = np.zeros((IMAGES, 3, SIZE, SIZE), np.float32), np.zeros(IMAGES, np.int64)
    return Dataset("drawn", "test", images, labels, classes, "drawn", truth, {"keypoints": BODY})


def drawn(seed: int) -> tuple[Dataset, list[Decoded]]:
    """Masks of boxes and persons in them, crowds and unlabelled persons among them, and what is near them."""
    generator = np.random.default_rng(seed)
    corners = generator.uniform(0, 24, (IMAGES, ROWS, 2)).round()
    boxes = np.concatenate([corners, corners + generator.integers(6, 24, (IMAGES, ROWS, 2))], -1)
    classes = generator.integers(-1, 1, (IMAGES, ROWS))
    points = corners[:, :, None] + generator.random((IMAGES, ROWS, POINTS, 2)) * 20
    seen = generator.integers(0, 3, (IMAGES, ROWS, POINTS, 1)) * (generator.random((IMAGES, ROWS, 1, 1)) > 0.2)
    masks = np.array([[filled(box) for box in image] for image in boxes])
    areas = masks.sum((2, 3)) * generator.uniform(0.5, 1, (IMAGES, ROWS))
    truth = {
        "boxes": boxes, "box_classes": classes, "masks": masks, "areas": areas,
        "crowd": generator.random((IMAGES, ROWS)) < 0.15,
        "keypoints": np.concatenate([points * (seen > 0), seen], -1),
    }  # fmt: skip
    decoded = []
    for place in range(IMAGES):
        near = np.clip(boxes[place] + generator.integers(-3, 4, (ROWS, 4)), 0, SIZE)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        scores = np.arange(ROWS) / 10 + 0.1 * generator.random(ROWS) + 0.05
        order = np.argsort(-scores)
        found = Detections(near[order], scores[order], np.zeros(ROWS, np.int64))
        moved = points[place] + generator.normal(scale=1.5, size=(ROWS, POINTS, 2))
        persons = np.concatenate([moved, np.repeat(scores[:, None, None], POINTS, 1)], -1)
        decoded.append(Decoded(found, np.array([filled(box) for box in found.boxes], bool), keypoints=persons[order]))
    return dataset_of(truth, ("person",)), decoded


def filled(box: np.ndarray) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    x1, y1, x2, y2 = box.astype(int)
    mask[y1:y2, x1:x2] = 1
    return mask


def evaluated(dataset: Dataset, decoded: list[Decoded], kind: str) -> tuple[float, float]:
    """AP and AP50 by pycocotools; it numbers objects from 1."""
    from pycocotools import mask as coder
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def coded(mask: np.ndarray) -> dict[str, Any]:
        return coder.encode(np.asfortranarray(mask.astype(np.uint8)))

    truth, mine = [], []
    for place in range(IMAGES):
        given = {name: values[place] for name, values in dataset.truth.items()}
        for row in np.flatnonzero(given["box_classes"] >= 0):
            x1, y1, x2, y2 = map(float, given["boxes"][row])
            points = given["keypoints"][row]
            truth.append(
                {
                    "id": len(truth) + 1, "image_id": place, "category_id": 0, "iscrowd": int(given["crowd"][row]),
                    "area": float(given["areas"][row]), "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "segmentation": coded(given["masks"][row]), "keypoints": points.ravel().tolist(),
                    "num_keypoints": int((points[:, 2] > 0).sum()),
                }
            )  # fmt: skip
        item = decoded[place]
        for row, value in enumerate(item.detections.scores):
            found = {"image_id": place, "category_id": 0, "score": float(value)}
            said = {"segmentation": coded(item.masks[row])} if kind == "segm" else {}
            mine.append(found | (said or {"keypoints": item.keypoints[row].ravel().tolist()}))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": place, "height": SIZE, "width": SIZE} for place in range(IMAGES)],
            "categories": [{"id": 0}],
            "annotations": truth,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(mine), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[0], evaluation.stats[1]


@pytest.mark.parametrize("kind", ["segm", "keypoints"])
@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_that_of_pycocotools(seed, kind):
    pytest.importorskip("pycocotools", reason="needs the extra coco")
    dataset, decoded = drawn(seed)
    name = {"segm": "mask_ap", "keypoints": "keypoint_ap"}[kind]
    ours = [found.value for found in score([name, f"{name}50"], decoded, dataset, intervals=False)]
    theirs = evaluated(dataset, decoded, kind)
    assert 0 < theirs[0] < 1
    assert ours == pytest.approx(theirs, abs=1e-12)
