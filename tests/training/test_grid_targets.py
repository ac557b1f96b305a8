"""YOLO's grid: it decodes to the boxes that it was made of, and networks of it are trained and scored."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.registry import build
from cnnbench.spec import layers as L
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers.shape import Reshape
from cnnbench.spec.losses import MeanSquaredError, Yolo
from cnnbench.spec.optimizers import Adam
from cnnbench.spec.weights import initialize
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest
from cnnbench.training.decoders.decoded import decode
from cnnbench.training.evaluation import host_loss
from cnnbench.training.grid_targets import grid_targets
from cnnbench.training.loop import train
from cnnbench.training.metrics.registry import score
from cnnbench.training.settings import TrainSettings
from cnnbench.training.targets import purpose_of, targets_of
from cnnbench.training.task import TrainingTask

SIZE = (32, 48)
LOSS = Yolo(boxes=2, classes=3, channels_last=True)


def shapes(count: int = 12, size: tuple[int, int] = SIZE):
    return load_dataset("shapes", DataRequest("test", (3, *size), count))


def grid_graph(depth: int = 13, name: str = "cells") -> Graph:
    builder = Builder("grid")
    x = builder.input("image", (3, *SIZE))
    x = builder.add("relu", L.ReLU(), builder.add("conv", L.Conv(out_channels=8, kernel_size=8, stride=8), x))
    x = builder.add("head", L.Linear(out_features=24 * depth), builder.add("flatten", L.Flatten(), x))
    return builder.build({name: builder.add("reshape", Reshape(shape=(4, 6, depth)), x)})


def as_cells(targets: np.ndarray, boxes: int = 2) -> np.ndarray:
    """What a network would have to give: each box is the object, sure of itself."""
    centre, sizes, here, kinds = np.split(targets.astype(np.float64), (2, 4, 5), axis=1)
    one = np.concatenate([centre, np.sqrt(sizes), here], axis=1)
    return np.moveaxis(np.concatenate([*[one] * boxes, kinds], axis=1), 1, -1)


def truth_of(boxes: list[list[float]], kinds: list[int], **more: list[int]):
    named = {name: np.array([values]) for name, values in more.items()}
    return {"boxes": np.array([boxes], np.float32), "box_classes": np.array([kinds]), **named}


def test_the_cell_of_the_centre_describes_the_object() -> None:
    found = grid_targets(truth_of([[4, 6, 16, 16], [0, 0, 0, 0]], [2, -1]), 3, SIZE, (4, 6))["targets"]
    assert found.shape == (1, 8, 4, 6)
    np.testing.assert_allclose(found[0, :, 1, 1], [10 / 8 - 1, 11 / 8 - 1, 12 / 48, 10 / 32, 1, 0, 0, 1], rtol=1e-6)
    assert np.count_nonzero(found[0, 4]) == 1
    assert np.count_nonzero(found) == 6


@pytest.mark.parametrize(
    ("boxes", "kept"),
    [
        pytest.param([[8, 8, 12, 12], [7, 7, 15, 15]], 1, id="the-largest"),
        pytest.param([[7, 7, 15, 15], [8, 8, 12, 12]], 0, id="the-largest-first"),
        pytest.param([[8, 8, 12, 12], [9, 9, 13, 13]], 0, id="the-first-of-equal-ones"),
    ],
)
def test_of_objects_in_one_cell_one_counts(boxes: list[list[float]], kept: int) -> None:
    found = grid_targets(truth_of(boxes, [0, 1]), 3, SIZE, (4, 6))["targets"][0, :, 1, 1]
    np.testing.assert_array_equal(found[5:], np.eye(3)[kept])
    assert found[2] * 48 == pytest.approx(boxes[kept][2] - boxes[kept][0])


def test_crowds_and_empty_boxes_are_no_objects_and_edges_have_a_cell() -> None:
    assert not grid_targets(truth_of([[8, 8, 12, 12]], [0], crowd=[1]), 3, SIZE, (4, 6))["targets"].any()
    assert not grid_targets(truth_of([[8, 8, 8, 12]], [0]), 3, SIZE, (4, 6))["targets"].any()
    edge = grid_targets(truth_of([[4, 4, 12, 12]], [0]), 3, SIZE, (4, 6))["targets"][0]
    np.testing.assert_array_equal(edge[:5, 1, 1], np.float32([0, 0, 8 / 48, 8 / 32, 1]))
    last = grid_targets(truth_of([[44, 28, 52, 36]], [0]), 3, SIZE, (4, 6))["targets"][0]
    np.testing.assert_array_equal(last[:2, 3, 5], [1, 1])


def test_decoded_targets_are_the_truth() -> None:
    data = shapes(60, (64, 64))
    made = targets_of(build("yolo_v1_tiny"), LOSS, data)["targets"]
    assert made.shape == (60, 8, 8, 8)
    decoded = decode({"cells": as_cells(made)}, (64, 64))
    alone = 0
    for item, boxes, kinds in zip(decoded, data.truth["boxes"], data.truth["box_classes"], strict=True):
        assert item.detections is not None
        there = kinds >= 0
        cells = {tuple(cell) for cell in (boxes[there, :2] + boxes[there, 2:]) // 16}
        assert len(item.detections) == len(cells)
        if len(cells) == there.sum():
            alone += 1
            order = np.lexsort(item.detections.boxes.T), np.lexsort(boxes[there].T)
            np.testing.assert_allclose(item.detections.boxes[order[0]], boxes[there][order[1]], atol=1e-4)
            np.testing.assert_array_equal(item.detections.classes[order[0]], kinds[there][order[1]])
    assert alone > 50
    (reached,) = score(["ap50"], decoded, data, intervals=False)
    assert reached.value is not None
    assert reached.value > 0.97


def test_right_cells_have_no_loss_and_wrong_ones_have() -> None:
    made = targets_of(grid_graph(), LOSS, shapes())["targets"]
    cells = as_cells(made)
    cells[..., 9] = 0  # of two equal boxes the first is responsible, so the other must not be sure
    assert host_loss(LOSS, cells, made) == pytest.approx(0, abs=1e-12)
    assert host_loss(LOSS, np.roll(cells, 1, axis=1), made) > 1


def test_other_classes_data_and_losses_are_refused() -> None:
    assert purpose_of(grid_graph()) == "cells"
    with pytest.raises(SpecError, match="does not fit"):
        targets_of(grid_graph(12), LOSS, shapes(2))
    noise = load_dataset("random", DataRequest("test", (3, *SIZE), 2))
    with pytest.raises(SpecError, match="random does not say what grid learns"):
        targets_of(grid_graph(20), LOSS, noise)
    with pytest.raises(SpecError, match="mean_squared_error"):
        targets_of(grid_graph(), MeanSquaredError(), shapes(2))
    with pytest.raises(SpecError, match="'yolo' does not take"):
        targets_of(grid_graph(), Yolo(classes=20, channels_last=True), shapes(2))


def test_a_network_of_cells_learns_and_is_scored(numpy_backend: Backend) -> None:
    graph = grid_graph()
    settings = TrainSettings(
        data="shapes", epochs=4, batch=8, train_images=64, test_images=12, learning_rate=0.003, optimizer=Adam(),
        loss=LOSS,
    )  # fmt: skip
    options = ProgramOptions("fast", precision("float32"))
    result = train(TrainingTask(numpy_backend, graph, initialize(graph, 0), settings, options))
    last = result.epochs[-1]
    assert last.train_loss < 0.8 * result.epochs[0].train_loss
    assert {item.metric for item in last.metrics} == {"ap", "ap50"}
    assert result.test_accuracy is None
    made = targets_of(graph, LOSS, shapes())["targets"]
    assert last.test_loss == pytest.approx(host_loss(LOSS, result.outputs["cells"].astype(float), made), rel=1e-9)
