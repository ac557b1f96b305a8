"""Maps of a class's score: against PyTorch's autograd on the network written by hand, and against differences."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_network import viewed

from cnnbench.views.saliency import GRAD_CAM, INTEGRATED_GRADIENTS, SALIENCY
from cnnbench.views.view import ViewRequest

KINDS = (3, 1)


def request_of(images, **more):
    return ViewRequest(images.astype(np.float64), KINDS, **more)


def score(scores):
    return sum(scores[row, kind] for row, kind in enumerate(KINDS))


def test_saliency_is_the_largest_magnitude_over_channels_of_the_score_s_gradient(model, images, by_hand):
    x = by_hand.torch.tensor(images, dtype=by_hand.torch.float64, requires_grad=True)
    score(by_hand(x)[0]).backward()
    found = SALIENCY(viewed(model), request_of(images)).arrays
    np.testing.assert_allclose(found["gradient"], x.grad, rtol=1e-12)
    np.testing.assert_allclose(found["saliency"], np.abs(x.grad.numpy()).max(1), rtol=1e-12)


def test_saliency_is_what_differences_of_the_score_are(model, images):
    network, request = viewed(model), request_of(images)
    gradient = SALIENCY(network, request).arrays["gradient"]
    for place in ((0, 1, 4, 4), (1, 0, 8, 7)):
        step = np.zeros(images.shape)
        step[place] = 1e-6
        ends = [network.values(request.images + sign * step, ["fc"])["fc"] for sign in (1, -1)]
        slope = (ends[0] - ends[1])[place[0], KINDS[place[0]]] / 2e-6
        assert gradient[place] == pytest.approx(slope, rel=1e-5)


def test_grad_cam_is_the_rectified_sum_of_maps_weighted_by_their_mean_gradients(model, images, by_hand):
    scores, kept = by_hand(by_hand.torch.tensor(images, dtype=by_hand.torch.float64, requires_grad=True))
    kept["relu2"].retain_grad()
    score(scores).backward()
    maps, gradient = kept["relu2"].detach().numpy(), kept["relu2"].grad.numpy()
    expected = np.zeros((2, *maps.shape[2:]))
    for n in range(2):
        for k in range(maps.shape[1]):
            expected[n] += gradient[n, k].mean() * maps[n, k]
    found = GRAD_CAM(viewed(model), request_of(images)).arrays
    np.testing.assert_allclose(found["coarse"], np.maximum(expected, 0), rtol=1e-10, atol=1e-14)
    assert found["grad_cam"].shape == (2, 9, 8)


def test_grad_cam_takes_the_node_that_is_named(model, images):
    assert GRAD_CAM(viewed(model), request_of(images, nodes=("conv1",))).arrays["coarse"].shape == (2, 9, 8)


def test_integrated_gradients_add_up_to_the_difference_of_the_scores(model, images, by_hand):
    """Exactly so in the limit; and each is the image times the mean gradient at the midpoints."""
    torch = by_hand.torch
    found = INTEGRATED_GRADIENTS(viewed(model), request_of(images, settings={"steps": 4}))
    total = torch.zeros(images.shape, dtype=torch.float64)
    for number in range(4):
        x = torch.tensor(images * np.float64((number + 0.5) / 4), requires_grad=True)
        score(by_hand(x)[0]).backward()
        total += x.grad / 4
    np.testing.assert_allclose(found.arrays["attribution"], images * total.numpy(), rtol=1e-10, atol=1e-13)
    finer = INTEGRATED_GRADIENTS(viewed(model), request_of(images, settings={"steps": 400}))
    assert finer.figures["completeness_gap"] < 1e-2 < found.figures["completeness_gap"]
