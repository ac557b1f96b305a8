"""Heat maps: they decode to the keypoints that they were made of, and networks of them are trained and scored."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.registry import build
from cnnbench.spec import layers as L
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.losses import CrossEntropy, KeypointHeatmaps, MeanSquaredError, PoseStages
from cnnbench.spec.optimizers import Adam
from cnnbench.spec.weights import initialize
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest
from cnnbench.training.decoders.decoded import decode
from cnnbench.training.keypoint_targets import keypoint_maps
from cnnbench.training.loop import train
from cnnbench.training.metrics.registry import score
from cnnbench.training.settings import TrainSettings
from cnnbench.training.targets import purpose_of, targets_of, trained_graph
from cnnbench.training.task import TrainingTask

SIZE, MAPS = (48, 64), (12, 16)


def figures(name: str = "figures", count: int = 12, size: tuple[int, int] = SIZE):
    return load_dataset(name, DataRequest("test", (3, *size), count))


def map_graph(points: int = 14, name: str = "heatmaps", *, spare: bool = False) -> Graph:
    builder = Builder("maps")
    x = builder.input("image", (3, *SIZE))
    x = builder.add("relu", L.ReLU(), builder.add("conv", L.Conv(out_channels=8, kernel_size=4, stride=4), x))
    outputs = {name: builder.add("head", L.Conv(out_channels=points, kernel_size=3, padding=1), x)}
    if spare:
        outputs["spare"] = builder.add("other", L.Conv(out_channels=1, kernel_size=1), x)
    return builder.build(outputs)


def test_maps_are_the_gaussian_of_the_distance_in_cells() -> None:
    points = np.array([[[[10.0, 30.0, 2.0], [5.0, 5.0, 0.0]]]])
    found = keypoint_maps(points, SIZE, MAPS)
    rows, columns = np.mgrid[:12, :16]
    distance = (columns - 10 / 4) ** 2 + (rows - 30 / 4) ** 2
    np.testing.assert_allclose(found["targets"][0, 0], np.exp(-distance / 2), atol=1e-7)
    assert not found["targets"][0, 1].any()
    np.testing.assert_array_equal(found["visible"], [[1, 0]])
    wide = keypoint_maps(points, (256, 256), (64, 64))["targets"][0, 0]
    assert wide[7, 4] / wide[7, 2] == pytest.approx(np.exp(-(1.5**2 - 0.5**2) / 8), rel=1e-5)


def test_a_map_of_several_persons_has_the_nearest_one() -> None:
    points = np.array([[[[8.0, 8.0, 1.0]], [[48.0, 40.0, 2.0]], [[0.0, 0.0, 0.0]]]])
    found = keypoint_maps(points, SIZE, MAPS)["targets"][0, 0]
    assert found[2, 2] == found[10, 12] == 1
    assert found.max() == 1
    assert found[0, 0] == pytest.approx(np.exp(-4), rel=1e-5)


def test_decoded_targets_are_the_truth() -> None:
    """Within a quarter of a cell; half a cell in the rows and columns where the decoder does not look beside."""
    data = figures(count=40)
    made = targets_of(map_graph(), KeypointHeatmaps(), data)
    decoded = decode({"heatmaps": made["targets"]}, SIZE)
    truth = data.truth["keypoints"][:, 0]
    found = np.array([item.keypoints[0] for item in decoded])
    np.testing.assert_array_equal(found[..., 2] > 0, truth[..., 2] > 0)
    inner = (truth[..., 2] > 0) & (truth[..., :2] >= 8).all(-1) & (truth[..., :2] < np.array([54, 38])).all(-1)
    assert inner.sum() > 200
    apart = np.abs(found[..., :2] - truth[..., :2])
    assert apart[inner].max() <= 1 + 1e-6
    assert apart[truth[..., 2] > 0].max() <= 4
    (reached,) = score(["pck"], decoded, data, intervals=False)
    assert reached.value is not None
    assert reached.value > 0.97


def test_the_small_network_of_the_suite_takes_the_figures() -> None:
    graph = build("hrnet_pose_tiny")
    made = targets_of(graph, KeypointHeatmaps(), figures(count=3, size=(64, 64)))
    assert {name: values.shape for name, values in made.items()} == {"targets": (3, 14, 16, 16), "visible": (3, 14)}
    assert purpose_of(graph) == "points"
    assert targets_of(graph, MeanSquaredError(), figures(count=3, size=(64, 64))).keys() == {"targets"}


def test_other_points_other_data_and_other_losses_are_refused() -> None:
    with pytest.raises(SpecError, match="does not fit"):
        targets_of(map_graph(13), KeypointHeatmaps(), figures(count=2))
    shapes = load_dataset("shapes", DataRequest("test", (3, *SIZE), 2))
    with pytest.raises(SpecError, match="shapes does not say what maps learns"):
        targets_of(map_graph(), KeypointHeatmaps(), shapes)
    with pytest.raises(SpecError, match="cross_entropy"):
        targets_of(map_graph(), CrossEntropy(), figures(count=2))
    with pytest.raises(SpecError, match="no targets"):
        targets_of(build("openpose_tiny"), PoseStages(), figures("figures_several", 2, (64, 64)))
    with pytest.raises(SpecError, match="does not depend on all weights"):
        trained_graph(map_graph(spare=True), KeypointHeatmaps())


def test_a_network_of_maps_learns_and_is_scored(numpy_backend: Backend) -> None:
    graph = map_graph()
    settings = TrainSettings(
        data="figures", epochs=3, batch=8, train_images=64, test_images=12, learning_rate=0.01,
        optimizer=Adam(), loss=KeypointHeatmaps(),
    )  # fmt: skip
    options = ProgramOptions("fast", precision("float32"))
    result = train(TrainingTask(numpy_backend, graph, initialize(graph, 0), settings, options))
    last = result.epochs[-1]
    assert {item.metric for item in last.metrics} == {"keypoint_ap", "keypoint_ap50", "pck", "oks"}
    assert result.test_accuracy is None
    made = targets_of(graph, KeypointHeatmaps(), figures())
    gaps = (result.outputs["heatmaps"].astype(float) - made["targets"]) * made["visible"][..., None, None]
    assert last.test_loss == pytest.approx((gaps**2).mean() / 2, rel=1e-6)
    assert last.test_loss < 0.8 * (made["targets"] ** 2).mean() / 2  # what maps of zeros come to
