"""Metrics by name: which fit, what they come to, what is kept of each image, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cnnbench.errors import DataError, SpecError
from cnnbench.registry import build
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest, Dataset
from cnnbench.training.decoders.boxes import Detections
from cnnbench.training.decoders.decoded import Decoded
from cnnbench.training.metrics.kept import restored
from cnnbench.training.metrics.paired import compared
from cnnbench.training.metrics.registry import default_metrics, image_metrics, scorable, score
from cnnbench.training.metrics.score import Score


def data(name: str, size: int = 64, count: int = 4) -> Dataset:
    return load_dataset(name, DataRequest("test", (3, size, size), count))


def right(dataset: Dataset) -> list[Decoded]:
    """What a network without a fault would say."""
    found = []
    for place in range(len(dataset)):
        truth = {name: values[place] for name, values in dataset.truth.items()}
        rows = truth["box_classes"] >= 0
        boxes = Detections(truth["boxes"][rows].astype(float), np.ones(int(rows.sum())), truth["box_classes"][rows])
        words = tuple(int(word) for word in truth.get("captions", ()) if word)
        points = truth["keypoints"][rows] if "keypoints" in truth else None
        masks = truth["masks"][rows].astype(bool)
        found.append(Decoded(boxes, masks, truth.get("segmentation"), points, (), words, dataset.images[place]))
    return found


SHAPES = ("mean_iou", "mean_dice", "pixel_accuracy", "ap", "ap50", "mask_ap", "mask_ap50", "exact_captions", "bleu")
PICTURES = ("auroc", "reconstruction_error", "psnr")
FIGURES = ("keypoint_ap", "keypoint_ap50", "pck", "oks")


@pytest.mark.parametrize(("name", "metrics"), [("shapes", SHAPES), ("figures_several", FIGURES)])
def test_what_is_wholly_right_is_1(name, metrics):
    dataset = data(name)
    for found in score(metrics, right(dataset), dataset):
        assert found.value == pytest.approx(1.0), found.metric
        assert found.images == len(dataset)


@pytest.mark.parametrize(("name", "metrics"), [("shapes", SHAPES), ("figures_several", FIGURES)])
def test_what_belongs_to_another_image_is_worse(name, metrics):
    dataset = data(name)
    turned = right(dataset)[1:] + right(dataset)[:1]
    for found in score(metrics, turned, dataset, intervals=False):
        assert found.value < 1, found.metric
        assert found.low is None
        assert found.per_image is None


@pytest.mark.parametrize(("name", "metrics"), [("shapes", SHAPES), ("figures_several", FIGURES)])
def test_what_is_kept_of_each_image_gives_the_figure_again(name, metrics):
    dataset = data(name)
    turned = right(dataset)[2:] + right(dataset)[:2]
    for found in score(metrics, turned, dataset):
        again = Score.model_validate_json(found.model_dump_json())
        assert again == found
        statistic = restored(json.loads(json.dumps(found.per_image)))
        assert statistic.of(np.arange(len(statistic))) == found.value, found.metric
        assert compared(statistic, statistic, exchanges=20).value == 0


def test_persons_are_matched_in_any_order():
    dataset = data("figures_several", count=8)
    turned = [Decoded(keypoints=item.keypoints[::-1]) for item in right(dataset)]
    assert [found.value for found in score(FIGURES, turned, dataset, intervals=False)] == pytest.approx([1] * 4)
    none = [Decoded(keypoints=np.zeros((0, 14, 3)))] * 8
    assert [found.value for found in score(FIGURES, none, dataset, intervals=False)] == pytest.approx([0] * 4)


FITTING = [
    pytest.param("lenet5", (1, 32, 32), None, "digits", ("accuracy",), id="classes"),
    pytest.param("unet_tiny", (3, 32, 32), 4, "shapes", SHAPES[:3], id="pixels"),
    pytest.param("unet_tiny", (3, 32, 32), 5, "shapes", (), id="other-pixels"),
    pytest.param("unet_tiny", (1, 32, 32), 4, "digits", (), id="without-the-truth"),
    pytest.param("yolo_v1_tiny", (3, 64, 64), 3, "shapes", ("ap", "ap50"), id="boxes"),
    pytest.param("openpose_tiny", (3, 64, 64), None, "figures_several", FIGURES, id="persons"),
    pytest.param("adversarial_autoencoder_tiny", (1, 28, 28), None, "digits_anomaly", PICTURES, id="pictures"),
    pytest.param("dcgan_generator_tiny", (32, 1, 1), None, "digits", (), id="no-picture-is-taken"),
]


@pytest.mark.parametrize(("network", "image", "classes", "dataset", "expected"), FITTING)
def test_which_metrics_fit(network, image, classes, dataset, expected):
    shape = image if image[1] > 1 else (1, 28, 28)
    found = load_dataset(dataset, DataRequest("test", shape, 2))
    graph = build(network, image=image, num_classes=classes)
    assert default_metrics(graph, found) == expected


def test_a_classifier_is_scored_by_its_largest_output():
    dataset = load_dataset("digits", DataRequest("test", (1, 8, 8), 6))
    logits = np.eye(10)[dataset.labels]
    logits[0] = np.roll(logits[0], 1)
    (found,) = score(["accuracy"], scorable({"logits": logits}, (8, 8)), dataset)
    assert found.value == pytest.approx(5 / 6)


def test_pictures_are_compared_with_the_images():
    dataset = load_dataset("digits_anomaly", DataRequest("test", (1, 8, 8), 20))
    off = dataset.truth["anomalous"][:, None, None, None] + 1.0
    found = score(["reconstruction_error", "auroc"], [Decoded(picture=item) for item in dataset.images + off], dataset)
    expected = float((off**2).mean())
    assert [item.value for item in found] == pytest.approx([expected, 1.0], rel=1e-6)
    assert [item.higher_is_better for item in found] == [False, True]


def test_what_cannot_be_computed_is_said():
    dataset = load_dataset("digits", DataRequest("test", (1, 8, 8), 2))
    labels = [Decoded(label=0), Decoded(label=1)]
    with pytest.raises(SpecError, match=r"(?s)unknown metric 'exact_caption'.*exact_captions"):
        score(["exact_caption"], labels, dataset)
    with pytest.raises(DataError, match="the network gives no pixels"):
        score(["mean_iou"], labels, dataset)
    with pytest.raises(DataError, match="digits has no truth 'segmentation'"):
        score(["mean_iou"], [Decoded(pixels=np.zeros((8, 8), np.int64))] * 2, dataset)
    with pytest.raises(DataError, match="each image has to be decoded"):
        score(["accuracy"], labels[:1], dataset)


def test_every_shipped_metric_is_named_in_the_documentation():
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    missing = [name for name in image_metrics() if f"`{name}`" not in text]
    assert not missing
