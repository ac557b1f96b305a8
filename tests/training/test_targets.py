"""Targets are what is true of the images; networks learn pixels' classes and images; wrong pairs are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.registry import build
from cnnbench.spec import layers as L
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers.reduction import ArgReduce
from cnnbench.spec.layers.shape import Reshape
from cnnbench.spec.losses import CrossEntropy, Dice, MeanSquaredError, TokenCrossEntropy
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.weights import initialize
from cnnbench.training.augmentation import Augmentation
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest
from cnnbench.training.departures import apart_by, departures, ties
from cnnbench.training.loop import train
from cnnbench.training.result import TrainingResult
from cnnbench.training.settings import TrainSettings
from cnnbench.training.targets import purpose_of, targets_of
from cnnbench.training.task import TrainingTask

FAST = ProgramOptions("fast", precision("float32"))
SEGMENTATION = TrainSettings(
    data="shapes", epochs=3, batch=8, train_images=64, test_images=12, learning_rate=0.1, optimizer=SGD(momentum=0.9)
)


def pixel_graph(padding: int = 1, classes: int = 4, name: str = "logits") -> Graph:
    builder = Builder("pixels")
    x = builder.input("image", (3, 24, 24))
    x = builder.add("relu", L.ReLU(), builder.add("conv", L.Conv(out_channels=8, kernel_size=3, padding=padding), x))
    return builder.build({name: builder.add("head", L.Conv(out_channels=classes, kernel_size=1), x)})


def shapes(count: int = 3):
    return load_dataset("shapes", DataRequest("test", (3, 24, 24), count, 0))


def task(backend: Backend, graph: Graph, settings: TrainSettings) -> TrainingTask:
    return TrainingTask(backend, graph, initialize(graph, 0), settings, FAST)


def test_pixels_are_learnt_as_the_truth_says() -> None:
    data = shapes()
    truth = data.truth["segmentation"]
    assert purpose_of(pixel_graph()) == "pixels"
    np.testing.assert_array_equal(targets_of(pixel_graph(), CrossEntropy(), data)["targets"], truth)
    indicators = targets_of(pixel_graph(), Dice(), data)["targets"]
    assert indicators.shape == (3, 4, 24, 24)
    np.testing.assert_array_equal(indicators.argmax(1), truth)
    np.testing.assert_array_equal(indicators.sum(1), 1)


def test_a_network_without_padding_learns_the_middle() -> None:
    data = shapes()
    found = targets_of(pixel_graph(padding=0), CrossEntropy(), data)["targets"]
    np.testing.assert_array_equal(found, data.truth["segmentation"][:, 1:-1, 1:-1])


def test_an_autoencoder_learns_the_image_itself() -> None:
    data = shapes()
    graph = pixel_graph(classes=3, name="image")
    assert purpose_of(graph) == "image"
    np.testing.assert_array_equal(targets_of(graph, MeanSquaredError(), data)["targets"], data.images)
    with pytest.raises(SpecError, match="cross_entropy"):
        targets_of(graph, CrossEntropy(), data)
    with pytest.raises(SpecError, match="does not fit the data"):
        targets_of(pixel_graph(classes=4, name="image"), MeanSquaredError(), data)


def word_graph(words: int = 11) -> Graph:
    builder = Builder("words")
    x = builder.input("image", (3, 24, 24))
    x = builder.add(
        "rows",
        Reshape(shape=(7, words)),
        builder.add("all", L.Linear(out_features=7 * words), builder.add("flat", L.Flatten(), x)),
    )
    return builder.build(
        {"logits": x, "tokens": builder.add("said", ArgReduce(function="argmax", axis=2, keepdims=False), x)}
    )


def test_words_are_those_of_the_caption_and_crops_leave_them_true(numpy_backend: Backend) -> None:
    data = shapes()
    assert purpose_of(word_graph()) == "words"
    np.testing.assert_array_equal(
        targets_of(word_graph(), TokenCrossEntropy(), data)["targets"], data.truth["captions"]
    )
    with pytest.raises(SpecError, match="does not fit the data"):
        targets_of(word_graph(words=10), TokenCrossEntropy(), data)
    settings = replace(SEGMENTATION, loss=TokenCrossEntropy(), epochs=1, augmentation=Augmentation(crop_padding=2))
    names = {score.metric for score in train(task(numpy_backend, word_graph(), settings)).epochs[-1].metrics}
    assert names == {"exact_captions", "bleu"}
    with pytest.raises(SpecError, match="vary alike"):
        train(task(numpy_backend, word_graph(), replace(settings, augmentation=Augmentation(flip=True))))


def test_data_without_the_truth_or_with_other_classes_are_refused() -> None:
    digits = load_dataset("digits", DataRequest("test", (3, 24, 24), 2, 0))
    with pytest.raises(SpecError, match="digits does not say what pixels learns"):
        targets_of(pixel_graph(), CrossEntropy(), digits)
    with pytest.raises(SpecError, match="does not fit"):
        targets_of(pixel_graph(classes=3), CrossEntropy(), shapes())
    with pytest.raises(SpecError, match="no targets"):
        purpose_of(pixel_graph(name="noise"))


def learnt(backend: Backend, settings: TrainSettings = SEGMENTATION) -> TrainingResult:
    return train(task(backend, pixel_graph(), settings))


def test_a_network_of_pixels_learns_and_is_scored(numpy_backend: Backend) -> None:
    result = learnt(numpy_backend)
    assert result.epochs[-1].train_loss < 0.8 * result.epochs[0].train_loss
    assert result.test_accuracy is None
    assert result.predictions == result.targets == ()
    data = shapes(12)
    found = result.outputs["logits"].argmax(1)
    scores = {item.metric: item.value for item in result.epochs[-1].metrics}
    assert scores["pixel_accuracy"] == pytest.approx(np.mean(found == data.truth["segmentation"]), rel=1e-12)
    assert 0 < scores["mean_iou"] < 1
    logits = result.outputs["logits"].astype(float)
    logarithms = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    right = np.take_along_axis(logarithms, data.truth["segmentation"][:, None], 1)
    assert result.epochs[-1].test_loss == pytest.approx(-right.mean(), rel=1e-6)


def test_varied_images_need_targets_that_vary_alike(numpy_backend: Backend) -> None:
    with pytest.raises(SpecError, match="vary alike"):
        learnt(numpy_backend, replace(SEGMENTATION, augmentation=Augmentation(flip=True)))


def test_departures_are_shares_of_each_images_largest_output(numpy_backend: Backend) -> None:
    graph = pixel_graph()
    own = task(numpy_backend, graph, SEGMENTATION)
    positions = (0, 3)
    outputs = train(task(numpy_backend, graph, replace(SEGMENTATION, learning_rate=1e-40, epochs=1))).outputs["logits"]
    found = outputs.copy()
    assert departures(own, positions, {"logits": found}) == pytest.approx((0, 0), abs=1e-20)
    largest = float(np.abs(found[3]).max())
    found[3, 0, 0, 0] += 0.5 * largest
    assert departures(own, positions, {"logits": found}) == pytest.approx((0.0, 0.5), rel=1e-5)
    found[0, 0, 0, 0] = np.nan
    assert departures(own, positions, {"logits": found})[0] == np.inf
    for wrong in ({}, {"logits": outputs[:, :2]}, {"logits": outputs[:3]}):
        assert departures(own, positions, wrong) == (np.inf, np.inf)


def detected(*rows: tuple[tuple[float, float, float, float], float, int]) -> dict[str, np.ndarray]:
    """Outputs of one image with these boxes, scores and classes, and a row of padding."""
    boxes, scores, classes = (np.array([row[place] for row in rows]) for place in range(3))
    padded = (np.concatenate([x, np.zeros_like(x[:1])]) for x in (boxes, scores, classes))
    named = dict(zip(("boxes", "scores", "classes"), padded, strict=True))
    return {name: x[None] for name, x in named.items()} | {"counts": np.array([len(rows)])}


LEFT, RIGHT = ((0.0, 0.0, 10.0, 10.0), 0.9, 1), ((50.0, 0.0, 60.0, 10.0), 0.8, 1)


@pytest.mark.parametrize(
    ("others", "apart"),
    [
        pytest.param(detected(RIGHT, LEFT), 0.0, id="another order"),
        pytest.param(detected(((0.0, 0.0, 10.0, 10.6), 0.9, 1), RIGHT), 0.01, id="a side moved by a hundredth"),
        pytest.param(detected((LEFT[0], 0.7, 1), RIGHT), 0.2, id="another score"),
        pytest.param(detected((LEFT[0], 0.9, 2), RIGHT), 0.9, id="another class"),
        pytest.param(detected(LEFT, (LEFT[0], 0.3, 1)), 0.8, id="one lost, one twice"),
        pytest.param(detected(LEFT, (RIGHT[0], np.nan, 1)), np.inf, id="no number"),
    ],
)
def test_detections_are_matched_before_they_are_compared(others, apart) -> None:
    own = detected(LEFT, RIGHT)
    assert apart_by(own, others) == pytest.approx((apart,))


def test_what_hangs_on_a_rounding_is_a_tie(numpy_backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network says which pixel is the brightest; in the second image two are nearly equal."""
    b = Builder("larger")
    x = b.input("image", (3, 24, 24))
    value = b.add("row", Reshape(shape=(3 * 24 * 24,)), x)
    words = b.add("largest", ArgReduce(function="argmax", axis=1, keepdims=True), value)
    own = task(numpy_backend, b.build({"tokens": words}), replace(SEGMENTATION, test_images=2))
    images = np.zeros((2, 3, 24, 24), np.float32)
    images[0, 0, 0, 4], images[1, 0, 0, 3:5] = 1, (1, np.nextafter(np.float32(1), np.float32(2)))
    data = replace(shapes(2), images=images)
    monkeypatch.setattr(TrainingTask, "data", lambda self, split: data)
    assert ties(own, (0, 1), 1e-3) == (1,)
    assert ties(task(numpy_backend, pixel_graph(), SEGMENTATION), (0, 1), 0.0) == (), "no network that chooses"


def test_the_small_u_net_takes_the_shapes() -> None:
    graph = build("unet_tiny", image=(3, 32, 32), num_classes=4)
    data = load_dataset("shapes", DataRequest("test", (3, 32, 32), 2, 0))
    np.testing.assert_array_equal(targets_of(graph, CrossEntropy(), data)["targets"], data.truth["segmentation"])
