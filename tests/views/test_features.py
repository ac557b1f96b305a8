"""Filters, maps, patches, embeddings, occlusion and receptive fields: against loops over their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_network import viewed

from cnnbench.errors import SuiteError
from cnnbench.views.shipped import SHIPPED
from cnnbench.views.view import ViewRequest

VIEWS = {view.name: view for view in SHIPPED}
NOTHING = np.zeros((0, 2, 9, 8), np.float32)


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(5).normal(size=(7, 2, 9, 8)).astype(np.float32)


def test_filters_are_the_weights_of_the_first_convolution_or_of_the_named_one(model):
    for nodes, name in (((), "conv1"), (("conv2",), "conv2")):
        found = VIEWS["filters"](viewed(model), ViewRequest(NOTHING, nodes=nodes))
        np.testing.assert_array_equal(found.arrays["filters"], model.arrays[f"{name}.weight"])
    with pytest.raises(SuiteError, match="no convolution"):
        VIEWS["filters"](viewed(model), ViewRequest(NOTHING, nodes=("relu1",)))


def test_feature_maps_are_the_node_s_values(model, images, by_hand):
    kept = by_hand(by_hand.torch.tensor(images, dtype=by_hand.torch.float64))[1]
    for nodes, name in (((), "relu1"), (("conv2",), "conv2")):
        found = VIEWS["feature_maps"](viewed(model), ViewRequest(images, nodes=nodes))
        np.testing.assert_allclose(found.arrays["feature_maps"], kept[name], rtol=1e-10, atol=1e-12)
    with pytest.raises(SuiteError, match="fc makes no maps"):
        VIEWS["feature_maps"](viewed(model), ViewRequest(images, nodes=("fc",)))


def test_patches_are_where_a_channel_is_largest_and_as_large_as_what_it_sees(model, data):
    request = ViewRequest(NOTHING, nodes=("conv2",), data=data, settings={"count": 3, "channels": 2})
    network = viewed(model)
    found = VIEWS["patches"](network, request).arrays
    maps = network.values(data, ["conv2"])["conv2"]
    for channel, rows, boxes in zip(found["channels"], found["images"], found["boxes"], strict=True):
        ranked = sorted(range(len(data)), key=lambda row: -maps[row, channel].max())
        assert list(rows) == ranked[:3]
        for row, (top, bottom, left, right) in zip(rows, boxes, strict=True):
            y, x = np.unravel_index(maps[row, channel].argmax(), maps.shape[2:])
            # conv2 sees 3 rows from 2 y on of conv1, and each of these one more on either side
            assert max(0, 2 * y - 1) <= top < bottom <= min(9, 2 * y + 4)
            assert max(0, 2 * x - 1) <= left < right <= min(8, 2 * x + 4)
            assert (bottom - top) * (right - left) >= 9


def test_the_embedding_is_of_what_the_last_linear_layer_reads(model, data, by_hand):
    kept = by_hand(by_hand.torch.tensor(data, dtype=by_hand.torch.float64))[1]["relu2"].flatten(1).numpy()
    found = VIEWS["embedding"](viewed(model), ViewRequest(NOTHING, data=data)).arrays
    np.testing.assert_allclose(found["representation"], kept, rtol=1e-10, atol=1e-12)
    centred = kept - kept.mean(0)
    _, strength, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(found["pca"]), np.abs(centred @ axes[:2].T), rtol=1e-6, atol=1e-9)
    assert found["tsne"].shape == (7, 2)
    assert strength[0] > 0


def test_occlusion_is_the_drop_of_the_score_square_by_square(model, images):
    network = viewed(model)
    request = ViewRequest(images, (3, 1), settings={"side": 3, "stride": 2})
    found = VIEWS["occlusion"](network, request).arrays["occlusion"]
    assert found.shape == (2, 4, 3)
    for n, kind in enumerate((3, 1)):
        for i in range(4):
            for j in range(3):
                hidden = images[n : n + 1].copy()
                hidden[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] = 0
                scores = network.values(np.concatenate([images[n : n + 1], hidden]), ["fc"])["fc"][:, kind]
                assert found[n, i, j] == pytest.approx(scores[0] - scores[1], rel=1e-9, abs=1e-12)


def test_the_receptive_field_of_one_convolution_is_its_window(model):
    """conv1 is 3 x 3, its middle unit at (4, 4): no other pixel reaches it, and each as strongly as its weights sum."""
    found = VIEWS["receptive_field"](viewed(model), ViewRequest(NOTHING, nodes=("conv1",)))
    field = found.arrays["receptive_field"]
    expected = np.zeros((9, 8))
    expected[3:6, 3:6] = np.abs(model.arrays["conv1.weight"].astype(np.float64).sum((0, 1)))
    np.testing.assert_allclose(field, expected, rtol=1e-10, atol=1e-14)
    assert found.figures["pixels_reached"] == 9
