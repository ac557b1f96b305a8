"""Outputs are decoded by what their names mean."""

from __future__ import annotations

import numpy as np

from cnnbench.training.datasets.figures import KEYPOINTS, LIMBS
from cnnbench.training.decoders.decoded import decode


def test_each_meaning_has_its_decoder():
    boxes = {
        "boxes": np.array([[[1, 1, 5, 5], [0, 0, 2, 2], [0, 0, 0, 0]]], float),
        "scores": np.array([[0.9, 0.1, 0.0]]),
        "classes": np.array([[2, 0, 0]]),
        "counts": np.array([2]),
    }
    (found,) = decode(boxes, (8, 8))
    assert found.lines() == ["class 2 at 1.0 1.0 5.0 5.0, score 0.900"]
    (found,) = decode({**boxes, "masks": np.ones((1, 3, 28, 28))}, (8, 8))
    assert found.masks is not None
    assert found.masks.sum() == 16
    assert decode({**boxes, "counts": np.array([0])}, (8, 8))[0].lines() == ["nothing found"]
    logits = np.zeros((1, 2, 2, 2))
    logits[0, 1, 0] = 1.0
    assert decode({"logits": logits}, (2, 2))[0].lines() == ["pixels: class 0 50.0%, class 1 50.0%"]
    assert decode({"tokens": np.array([[4, 2, 0, 7], [1, 1, 1, 1]])}, (2, 2))[0].words == (4, 2)
    of_vae = {"logits": np.zeros((1, 1, 2, 2)), "mean": np.zeros((1, 2)), "log_variance": np.zeros((1, 2))}
    assert decode(of_vae, (2, 2))[0].lines() == ["picture 1x2x2, values from 0.500 to 0.500"]
    maps = np.zeros((1, 2, 4, 4))
    maps[0, 0, 2, 2] = 1.0
    assert decode({"heatmaps": maps}, (16, 16))[0].lines() == ["person 0: 1 of 2 keypoints, mean score 1.000"]
    empty = {"heatmaps": np.zeros((1, 19, 4, 4)), "fields": np.zeros((1, 38, 4, 4))}
    assert decode(empty, (32, 32))[0].lines() == ["no person found"]


def test_a_drawn_figure_is_put_together_of_its_limbs():
    """Maps and fields as a trained network would give them, one person on a grid of cells of 4 pixels."""
    size, stride = 24, 4
    place = {k: np.array([3 + 5 * (k % 4), 3 + 5 * (k // 4)]) for k in range(len(KEYPOINTS))}
    maps, fields = np.zeros((1, len(KEYPOINTS) + 1, size, size)), np.zeros((1, 2 * len(LIMBS), size, size))
    for kind, (x, y) in place.items():
        maps[0, kind, y, x] = 1.0
    for number, (first, last) in enumerate(LIMBS):
        way = place[last] - place[first]
        fields[0, 2 * number : 2 * number + 2] = (way / np.hypot(*way))[:, None, None]
    (found,) = decode({"heatmaps": maps, "fields": fields}, (size * stride, size * stride))
    assert found.lines() == ["person 0: 14 of 14 keypoints, mean score 1.000"]
    assert found.limbs == LIMBS
    assert np.array_equal(found.keypoints[0, :, :2], stride * np.array([place[k] for k in range(len(KEYPOINTS))]))
    assert decode({"heatmaps": maps, "fields": fields[:, :4]}, (96, 96)) == []


def test_what_classes_and_losses_read_says_nothing_of_the_image():
    assert decode({"logits": np.zeros((2, 10))}, (8, 8)) == []
    assert decode({"logits": np.zeros((2, 1, 3, 3))}, (8, 8)) == []
    assert decode({"noise": np.zeros((2, 1, 3, 3))}, (8, 8)) == []
