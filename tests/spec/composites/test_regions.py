"""From regions to detections: against loops over classes, and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.spec.composites.regions import ClassDetections
from cnnbench.spec.draws import draw_inputs
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers.detection import RoIMaxPool
from cnnbench.spec.layers.shape import Reshape


def outputs(layer, *inputs):
    resolved = layer.resolve(tuple(x.shape for x in inputs))
    return reference().forward(LayerCall(resolved, inputs)).outputs


def corners(random, shape, size):
    first = random.uniform(0, 0.7 * size, (*shape, 2))
    return np.concatenate([first, first + random.uniform(0.1, 0.5, first.shape) * size], -1)


def iou(a, b):
    sides = [max(min(a[i + 2], b[i + 2]) - max(a[i], b[i]), 0) for i in (0, 1)]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return sides[0] * sides[1] / (sum(areas) - sides[0] * sides[1])


def naive(layer, logits, deltas, regions):
    """(box, score, class) of one image by loops over classes and regions, suppression by its definition."""
    found = []
    for kind in range(1, logits.shape[1]):
        candidates = []
        for scores, moves, (x1, y1, x2, y2) in zip(logits, deltas, regions, strict=True):
            score = np.exp(scores[kind]) / np.exp(scores).sum()
            dx, dy, dw, dh = moves[4 * kind : 4 * kind + 4] / np.array([10, 10, 5, 5])
            w, h = (x2 - x1) * math.exp(min(dw, math.log(62.5))), (y2 - y1) * math.exp(min(dh, math.log(62.5)))
            x, y = (x1 + x2) / 2 + dx * (x2 - x1), (y1 + y2) / 2 + dy * (y2 - y1)
            box = np.clip([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 0, [layer.width, layer.height] * 2)
            if score > layer.score_threshold and min(box[2] - box[0], box[3] - box[1]) >= layer.min_size:
                candidates.append((box, score, kind - 1))
        kept = []
        for item in sorted(candidates, key=lambda item: -item[1]):
            if all(iou(item[0], other[0]) <= layer.iou_threshold for other in kept):
                kept.append(item)
        found += kept
    return sorted(found, key=lambda item: -item[1])[: layer.detections]


@pytest.mark.parametrize("detections", [5, 200])
@pytest.mark.parametrize("seed", range(4))
def test_detections_are_those_of_loops_over_classes(seed, detections):
    random = np.random.default_rng(seed)
    logits, deltas = random.normal(size=(2, 40, 4)) * 2, random.normal(size=(2, 40, 16)) * 2
    regions = corners(random, (2, 40), 50.0)
    regions[1, 30:] = 0  # padding
    layer = ClassDetections(height=40, width=50, detections=detections, score_threshold=0.3)
    boxes, scores, classes, counts = outputs(layer, logits, deltas, regions)
    for image in range(2):
        expected = naive(layer, logits[image], deltas[image], regions[image])
        assert counts[image] == len(expected)
        n = len(expected)
        np.testing.assert_allclose(boxes[image, :n], [item[0] for item in expected], atol=1e-9)
        np.testing.assert_allclose(scores[image, :n], [item[1] for item in expected], rtol=1e-12)
        np.testing.assert_array_equal(classes[image, :n], [item[2] for item in expected])
        assert not boxes[image, n:].any()
        assert not scores[image, n:].any()


def test_nothing_is_found_where_the_background_wins():
    logits = np.tile([9.0, 0.0, 0.0], (1, 6, 1))
    regions = corners(np.random.default_rng(0), (1, 6), 20.0)
    boxes, scores, classes, counts = outputs(
        ClassDetections(height=20, width=20, detections=4), logits, np.zeros((1, 6, 12)), regions
    )
    assert counts[0] == 0
    assert not boxes.any()
    assert not scores.any()
    assert not classes.any()


def test_what_does_not_fit_is_refused():
    with pytest.raises(SpecError, match="the inputs do not fit"):
        ClassDetections(height=9, width=9).resolve(((1, 6, 3), (1, 6, 8), (1, 6, 4)))
    with pytest.raises(SpecError, match="score_threshold is not valid"):
        ClassDetections(height=9, width=9, score_threshold=-0.1).resolve(((1, 6, 3), (1, 6, 12), (1, 6, 4)))


def test_regions_that_are_an_input_are_drawn_within_the_image():
    b = Builder("pooled")
    x, regions = b.input("image", (3, 12, 20)), b.input("regions", (50, 4))
    rows = b.add("rows", Reshape(shape=(-1, 4), whole=True), regions)
    graph = b.build(b.add("pool", RoIMaxPool(output_size=2, spatial_scale=0.25), x, rows))
    found = draw_inputs(graph, 0, 3)["regions"]
    assert (found[..., :2] >= 0).all()
    assert (found[..., 2] <= 80).all()
    assert (found[..., 3] <= 48).all()
    assert (found[..., 2:] - found[..., :2] >= np.float32([7.99, 4.79])).all()
    assert found[..., 2].max() > 60
