"""R-CNN's stages, each against what it is defined to be, and all of them together on drawn shapes."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import pytest

from cnnbench.errors import DataError, SpecError, UnavailableError
from cnnbench.registry import build
from cnnbench.spec.weights import initialize
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest
from cnnbench.training.decoders.decoded import Decoded
from cnnbench.training.metrics.registry import score
from cnnbench.training.region_cnn import fitting
from cnnbench.training.region_cnn.crops import warped
from cnnbench.training.region_cnn.detector import RegionRule, decoded
from cnnbench.training.region_cnn.fitting import fitted
from cnnbench.training.region_cnn.network import RegionFeatures, region_network
from cnnbench.training.region_cnn.proposals import SelectiveSearch
from cnnbench.training.region_cnn.stages import StageTimes
from cnnbench.training.region_cnn.tuning import region_crops
from cnnbench.training.region_targets import encoded, overlaps


def shapes(split: str, count: int):
    return load_dataset("shapes", DataRequest(split, (3, 64, 64), limit=count))


def test_segments_and_what_is_joined_of_them_are_proposed():
    image = np.zeros((3, 40, 60))
    image[0, 5:15, 5:15] = 1
    image[1, 20:35, 30:55] = 1
    found = [tuple(map(int, box)) for box in SelectiveSearch(sigma=0, smallest=4)(image)]
    assert {(5, 5, 15, 15), (30, 20, 55, 35), (0, 0, 60, 40)} <= set(found)
    assert len(set(found)) == len(found)
    assert len(SelectiveSearch(sigma=0, most=1)(image)) == 1
    assert (0, 0, 60, 40) in found[:1]  # what was joined last comes first
    assert not len(SelectiveSearch(smallest=61)(image))
    with pytest.raises(DataError, match="one image"):
        SelectiveSearch()(image[0])


def test_most_drawn_objects_are_among_the_proposals():
    dataset = shapes("test", 20)
    best = [
        overlaps(np.asarray(own[kinds >= 0], float), SelectiveSearch()(image)).max(1)
        for image, own, kinds in zip(dataset.images, dataset.truth["boxes"], dataset.truth["box_classes"], strict=True)
    ]
    assert np.mean(np.concatenate(best) >= 0.5) >= 0.9


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(UnavailableError, match="region proposals need scikit-image"):
        SelectiveSearch()(np.random.default_rng(0).random((3, 8, 8)))


def test_a_crop_of_a_plane_is_the_plane_in_its_pixels():
    rows, columns = np.indices((20, 30), dtype=float)
    image = np.stack([2 * rows + 1, 3 * columns])
    box = np.array([[6.0, 4.0, 18.0, 10.0]])
    (crop,) = warped(image, box, (12, 8), context=0)
    y = 4 + (np.arange(12) + 0.5) / 12 * 6 - 0.5
    x = 6 + (np.arange(8) + 0.5) / 8 * 12 - 0.5
    np.testing.assert_allclose(crop[0], np.repeat(2 * y[:, None] + 1, 8, 1))
    np.testing.assert_allclose(crop[1], np.repeat(3 * x[None], 12, 0))
    np.testing.assert_allclose(warped(image, np.array([[0, 0, 30, 20]]), (20, 30), context=0)[0], image, rtol=1e-14)


def test_context_lies_around_the_region_and_the_mean_beyond_the_image():
    image = np.ones((1, 20, 20), np.float32)
    (crop,) = warped(image, np.array([[0, 0, 20, 20]]), (20, 20), context=0.1, fill=-5)
    inside = np.zeros((20, 20), bool)
    inside[2:18, 2:18] = True
    assert (crop[0][inside] == 1).all()
    assert (crop[0][~inside] == -5).all()
    assert crop.dtype == np.float32


def test_moving_is_the_inverse_of_encoding():
    generator = np.random.default_rng(0)
    boxes, anchors = (np.sort(generator.uniform(0, 50, (6, 2, 2)), 1).reshape(6, 4) for _ in range(2))
    anchors[:, 2:] += 5
    np.testing.assert_allclose(decoded(encoded(boxes, anchors), anchors), boxes)


def test_features_are_the_network_s_of_the_warped_crops():
    graph = build("rcnn_tiny")
    arrays = initialize(graph, 0)
    network, times = region_network(graph, arrays, "numpy", batch=2), StageTimes()
    image = shapes("test", 1).images[0]
    boxes = np.array([[4.0, 4, 30, 40], [10, 20, 60, 50], [0, 0, 64, 64]])
    found = network.features(image, boxes, times)
    import cnnbench

    for place, box in enumerate(boxes):
        one = cnnbench.predict("rcnn_tiny", warped(image, box[None], (67, 67)), seed=0)
        np.testing.assert_allclose(found.classified[place], one.outputs["features7"][0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.regressed[place], one.outputs["features5"].ravel(), rtol=1e-4, atol=1e-5)
    assert (times.crops, times.calls) == (3, 2)
    assert set(times.seconds) == {"warp", "features"}
    with pytest.raises(SpecError, match="gives no 'features5'"):
        region_network(build("lenet5"), {}, "numpy")


@dataclass
class Pixels:
    """Stands for a network: a crop's pixels, small, without its colour."""

    def features(self, image, boxes, times):
        crops = np.abs(warped(image, boxes, (12, 12))).max(1)
        times.crops += len(crops)
        crops = crops - crops.mean((1, 2), keepdims=True)
        rows = crops.reshape(len(crops), -1) / (crops.std((1, 2))[:, None] + 1e-6)
        return RegionFeatures(rows, rows)


def test_all_stages_together_find_drawn_shapes_and_are_counted():
    rule, search = RegionRule(penalty=0.01, ridge=10.0), SelectiveSearch()
    detector = fitted(Pixels(), shapes("train", 50), search, rule)
    dataset, times = shapes("test", 25), StageTimes()
    found = [detector.detect(image, times) for image in dataset.images]
    assert list(times.seconds) == ["propose", "classify", "suppress", "regress"]
    assert times.crops == sum(len(search(image)) for image in dataset.images)
    assert times.images == 25
    value = score(("ap50",), [Decoded(detections=one) for one in found], dataset, intervals=False)[0].value
    assert value > 0.25, value
    turned = [Decoded(detections=one) for one in found[1:] + found[:1]]
    assert score(("ap50",), turned, dataset, intervals=False)[0].value < value / 3
    for one in found:
        assert (np.diff(one.scores) <= 0).all()
        assert (one.boxes >= 0).all()
        assert (one.boxes <= 64).all()


def test_box_regression_is_scikit_learn_s_ridge():
    from sklearn.linear_model import Ridge

    generator = np.random.default_rng(0)
    boxes = np.array([[10.0, 10, 30, 30]]) + generator.uniform(-2, 2, (40, 4))
    nearest = np.repeat(np.array([[[11.0, 9, 31, 29]]]), 40, 0)
    x = generator.normal(size=(40, 5))
    flags = np.zeros((40, 1), bool)
    examples = fitting._Examples(x, x, boxes, np.full((40, 1), 0.8), nearest, flags)
    found = fitting._regression(examples, 0, RegionRule(ridge=3.0))
    right = Ridge(alpha=3.0).fit(x, encoded(nearest[:, 0], boxes))
    np.testing.assert_allclose(found.weights, right.coef_.T, atol=1e-10)
    np.testing.assert_allclose(found.bias, right.intercept_)
    assert fitting._regression(examples, 0, RegionRule(near=0.9)) is None


def test_what_cannot_be_trained_says_so():
    digits = load_dataset("digits", DataRequest("test", (1, 8, 8), limit=3))
    with pytest.raises(DataError, match="has no truth 'boxes'"):
        fitted(Pixels(), digits, SelectiveSearch(), RegionRule())
    one = shapes("train", 1)
    with pytest.raises(DataError, match=r"class '\w+' has no object among the regions"):
        fitted(Pixels(), one, SelectiveSearch(), RegionRule())


def test_crops_are_three_of_background_for_each_of_an_object():
    dataset = shapes("train", 10)
    crops = region_crops(dataset, SelectiveSearch(), (16, 16))
    assert crops.classes == ("background", *dataset.classes)
    counts = np.bincount(crops.labels, minlength=4)
    assert 0 < counts[0] <= 3 * counts[1:].sum()
    assert crops.images.shape == (len(crops.labels), 3, 16, 16)
    again = region_crops(dataset, SelectiveSearch(), (16, 16))
    np.testing.assert_array_equal(again.images, crops.images)
