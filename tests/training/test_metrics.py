"""Metrics against values by hand, against the libraries that define them, and their intervals and comparisons."""

from __future__ import annotations

import math

import numpy as np
import pytest
from coco_evaluation import drawn, evaluated

from cnnbench.errors import DataError
from cnnbench.training.decoders.boxes import box_areas
from cnnbench.training.metrics.anomaly import auroc
from cnnbench.training.metrics.captions import bleu, exact_match
from cnnbench.training.metrics.detection import THRESHOLDS, FoundObjects, mean_average_precision
from cnnbench.training.metrics.generative import (
    covered_classes,
    frechet_distance,
    psnr,
    recognised,
    reconstruction_error,
)
from cnnbench.training.metrics.keypoints import COCO_SIGMAS, object_keypoint_similarity, oks, pck
from cnnbench.training.metrics.overlap import box_overlap, mask_overlap
from cnnbench.training.metrics.segmentation import segmentation
from cnnbench.training.metrics.statistic import MeanStatistic, measured

RANGES = (
    (THRESHOLDS, "all"),
    ((0.5,), "all"),
    ((0.75,), "all"),
    *((THRESHOLDS, a) for a in ("small", "medium", "large")),
)
BY_PYCOCOTOOLS = {  # 2.0.11 on the drawn detections of a seed
    0: (0.11507009211387947, 0.27396915515727394, 0.04503078643017993, 0.0, 0.18773220179160774, 0.44112839855414115),
    5: (0.16826572958690886, 0.36394101280154534, 0.1719438407255359, 0.050495049504950484,
        0.14830443914893537, 0.3529909240924092),
}  # fmt: skip


def value(statistic) -> float:
    return statistic.of(np.arange(len(statistic)))


def objects(scores, classes, boxes, true_classes, truth, crowd=None) -> FoundObjects:
    boxes, truth = np.array(boxes, float).reshape(-1, 4), np.array(truth, float).reshape(-1, 4)
    crowd = np.zeros(len(truth), bool) if crowd is None else np.array(crowd, bool)
    overlap = box_overlap(boxes, truth, crowd)
    scores, classes = np.array(scores, float), np.array(classes, int)
    return FoundObjects(
        scores, classes, box_areas(boxes), np.array(true_classes, int), box_areas(truth), crowd, overlap
    )


BOX, FAR = (0, 0, 10, 10), (50, 50, 60, 60)


@pytest.mark.parametrize("seed", BY_PYCOCOTOOLS)
def test_average_precision_is_coco_s(seed):
    found, _ = drawn(seed)
    ours = [value(mean_average_precision(found, 3, limits, area)) for limits, area in RANGES]
    np.testing.assert_allclose(ours, BY_PYCOCOTOOLS[seed], atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_that_of_pycocotools(seed):
    pytest.importorskip("pycocotools", reason="needs the extra coco")
    found, boxes = drawn(seed)
    ours = [value(mean_average_precision(found, 3, limits, area)) for limits, area in RANGES]
    np.testing.assert_allclose(np.nan_to_num(ours, nan=-1), evaluated(found, boxes), atol=1e-12)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(objects([0.9], [0], [BOX], [0], [BOX]), 1.0, id="right"),
        pytest.param(objects([0.9], [1], [BOX], [0], [BOX]), 0.0, id="another-class"),
        pytest.param(objects([], [], [], [0], [BOX]), 0.0, id="nothing-found"),
        pytest.param(objects([0.9], [0], [BOX], [], []), math.nan, id="no-truth"),
        pytest.param(objects([0.9, 0.8], [0, 0], [BOX, BOX], [0], [BOX]), 1.0, id="found-twice-later"),
        pytest.param(objects([0.9, 0.8], [0, 0], [FAR, BOX], [0], [BOX]), 0.5, id="a-wrong-one-first"),
        pytest.param(objects([0.9, 0.8], [0, 0], [BOX, FAR], [0, 0], [BOX, FAR], [0, 1]), 1.0, id="in-a-crowd"),
        pytest.param(objects([0.9], [0], [BOX], [0, -1], [BOX, (0, 0, 0, 0)]), 1.0, id="a-padded-row"),
    ],
)
def test_average_precision_by_hand(found, expected):
    assert value(mean_average_precision([found], 2)) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(("mine", "true"), [(0, 7), (7, 0), (-1, 0)])
def test_a_class_that_does_not_exist_is_refused(mine, true):
    with pytest.raises(DataError, match="a class does not exist"):
        mean_average_precision([objects([0.9], [mine], [BOX], [true], [BOX])], 3)


def test_boxes_that_are_no_numbers_are_refused():
    with pytest.raises(DataError, match="boxes must be finite"):
        box_overlap(np.array([[0, 0, np.nan, 1]]), np.array([BOX]), np.zeros(1, bool))


def test_masks_overlap_by_pixels():
    masks = np.zeros((2, 4, 4), np.uint8)
    masks[0, :2], masks[1, 1:3] = 1, 1
    np.testing.assert_allclose(mask_overlap(masks[:1], masks, np.array([False, True])), [[1, 0.5]])


def test_segmentation_by_hand():
    truth = np.array([[[0, 0], [1, 1]], [[1, 255], [1, 0]]])
    found = np.array([[[0, 1], [1, 1]], [[1, 0], [0, 0]]])
    names = ("mean_iou", "mean_dice", "pixel_accuracy")
    measures = [value(segmentation(found, truth, 3, figure=name, ignore=255)) for name in names]
    # Of seven pixels: class 0 has 2 right, 1 found wrongly, 1 missed; class 1 has 3, 1, 1; class 2 does not occur.
    assert measures == pytest.approx([(2 / 4 + 3 / 5) / 2, (4 / 6 + 6 / 8) / 2, 5 / 7])
    assert math.isnan(value(segmentation(found, np.full_like(truth, 255), 3, ignore=255)))
    with pytest.raises(DataError, match="a found class does not exist"):
        segmentation(found + 3, truth, 3, ignore=255)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint64"])
def test_segmentation_counts_beyond_the_range_of_its_dtype(dtype):
    truth = np.arange(21).reshape(1, 3, 7).astype(dtype)
    assert value(segmentation(truth, truth, 21)) == 1
    with pytest.raises(DataError, match=r"(?s)received: 20.*0 to 19"):
        segmentation(truth, truth, 20)
    with pytest.raises(DataError, match="whole numbers"):
        segmentation(truth.astype(float), truth, 21)


def test_keypoints_by_hand():
    truth = np.array([[[[0, 0, 2], [10, 0, 1], [5, 5, 0]]]], float)
    found = np.array([[[[0, 0.5], [13, 0], [99, 99]]]])
    assert value(pck(found, truth, np.array([[10.0]]), 0.1)) == 0.5
    similar = object_keypoint_similarity(found, truth, np.array([[100.0]]), (0.05, 0.1, 0.1))
    expected = (math.exp(-0.25 / (2 * 100 * 0.01)) + math.exp(-9 / (2 * 100 * 0.04))) / 2
    assert similar[0, 0] == pytest.approx(expected)
    assert value(oks(found, truth, np.array([[100.0]]), (0.05, 0.1, 0.1))) == pytest.approx(expected)
    unlabelled = np.concatenate([truth[..., :2], np.zeros((1, 1, 3, 1))], -1)
    assert math.isnan(value(oks(found, unlabelled, np.array([[100.0]]), (0.05, 0.1, 0.1))))
    assert math.isnan(value(pck(found, unlabelled, np.array([[10.0]]))))
    assert len(COCO_SIGMAS) == 17
    with pytest.raises(DataError, match="one sigma for each keypoint"):
        oks(found, truth, np.array([[100.0]]))


def test_captions_by_hand():
    right = [[[1, 2, 3, 4, 5]], [[6, 7, 8, 9], [6, 7]]]
    assert value(exact_match([[1, 2, 3, 4, 5], [6, 7]], right)) == 1
    assert value(exact_match([[1, 2, 3, 4], [6, 7]], right)) == 0.5
    assert value(bleu([[1, 2, 3, 4, 5], [6, 7, 8, 9]], right)) == pytest.approx(1)
    # 4 of 5 words, 3 of 4 pairs, 2 of 3 triples, 1 of 2 fours, and as long as the reference.
    assert value(bleu([[1, 2, 3, 4, 9]], right[:1])) == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert value(bleu([[1, 2, 3, 4]], right[:1])) == pytest.approx(math.exp(1 - 5 / 4))
    # "the the the ..." has two matches, as often as the reference has the word (Papineni et al., section 2.1).
    assert bleu([[1] * 7], [[[1, 2, 3, 4, 1, 5]]]).matches[0, 0] == 2
    assert value(bleu([[]], right[:1])) == 0
    with pytest.raises(DataError, match="a caption and a reference"):
        bleu([[1]], [[]])


def test_auroc_is_scikit_learn_s():
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, 200)
    scores = (generator.normal(size=200) + truth).round(1)  # many are equal
    assert value(auroc(scores, truth)) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert value(auroc(np.zeros(4), np.array([0, 1, 0, 1]))) == 0.5
    assert math.isnan(value(auroc(scores, np.zeros(200, int))))
    with pytest.raises(DataError, match="finite"):
        auroc(np.array([0.0, np.nan]), np.array([0, 1]))


def test_frechet_distance_of_known_distributions():
    from scipy.linalg import sqrtm

    generator = np.random.default_rng(0)
    real, generated = generator.normal(size=(300, 5)), generator.normal(size=(200, 5)) * [1, 2, 0.5, 1, 3] + 1
    ours = value(frechet_distance(generated, real))
    means, covariances = (real.mean(0), generated.mean(0)), (np.cov(real.T), np.cov(generated.T))
    root = sqrtm(covariances[0] @ covariances[1]).real
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert ours == pytest.approx(expected, rel=1e-9)
    assert value(frechet_distance(real, real)) == pytest.approx(0, abs=1e-9)
    flat = np.concatenate([real, np.zeros((300, 3))], 1)  # singular
    assert value(frechet_distance(flat + np.eye(8)[0], flat)) == pytest.approx(1)
    with pytest.raises(DataError, match="two images at least"):
        frechet_distance(real[:1], real)


def test_generated_and_reconstructed_images_by_hand():
    probabilities = np.array([[0.9, 0.1, 0], [0.5, 0.5, 0], [0, 0.2, 0.8]])
    assert value(recognised(probabilities)) == pytest.approx(2 / 3)
    assert value(covered_classes(probabilities)) == 2
    images = np.zeros((2, 1, 2, 2))
    assert value(reconstruction_error(images + np.reshape([0.1, 0.3], (2, 1, 1, 1)), images)) == pytest.approx(
        (0.01 + 0.09) / 2
    )
    assert value(psnr(images + 0.1, images)) == pytest.approx(20)
    with pytest.raises(DataError, match="sum to 1"):
        recognised(2 * probabilities)


def test_the_interval_holds_the_mean_as_often_as_it_says():
    """95 % of 300 sets of 60 images: between 90 and 98 % of them, with a chance above 0.999."""
    generator = np.random.default_rng(0)
    held = 0
    for seed in range(300):
        found = measured(MeanStatistic(generator.normal(size=60)), seed, 400)
        held += found.low <= 0 <= found.high
    assert 270 <= held <= 294


def test_a_metric_of_no_image_is_refused_and_one_that_is_never_defined_has_no_interval():
    with pytest.raises(DataError, match="at least one image"):
        measured(MeanStatistic(np.zeros(0)))
    found = measured(MeanStatistic(np.full(3, np.nan)))
    assert math.isnan(found.value)
    assert math.isnan(found.low)
