"""Images that are made: objectives' gradients against PyTorch's, regularisers by hand, descents that descend."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_network import viewed

from cnnbench.views.descent import adam, lbfgs
from cnnbench.views.maximisation import blurred, clipped, total_variation
from cnnbench.views.shipped import SHIPPED
from cnnbench.views.style import gram
from cnnbench.views.view import ViewRequest

VIEWS = {view.name: view for view in SHIPPED}


def made(model, images, name, **settings):
    style = images[1:2][:, :, ::-1].copy()
    return VIEWS[name](viewed(model), ViewRequest(images[:1], (3,), style=style, settings=settings, seed=4))


def start(model, scale):
    return np.random.default_rng(4).normal(scale=scale, size=(1, 2, 9, 8)).astype(np.float32).astype(np.float64)


def test_a_class_s_score_rises_and_its_first_gradient_is_of_score_less_decay(model, images, by_hand):
    found = made(model, images, "class_l2", steps=30, decay=0.02)
    x = by_hand.torch.tensor(start(model, 0.01), requires_grad=True)
    (by_hand(x)[0][0, 3] - 0.02 * (x**2).sum()).backward()
    np.testing.assert_allclose(found.arrays["first_gradient"], x.grad, rtol=1e-6, atol=1e-8)
    assert found.figures["score_at_end"] > found.figures["score_at_start"] + 1
    free = made(model, images, "class_l2", steps=30, decay=0.0)
    assert np.abs(found.arrays["image"]).mean() < np.abs(free.arrays["image"]).mean()


@pytest.mark.parametrize("name", ["class_blur", "class_clip"])
def test_regularised_ascents_rise_too(model, images, name):
    found = made(model, images, name, steps=30)
    assert found.figures["score_at_end"] > found.figures["score_at_start"] + 1
    if name == "class_clip":
        assert (np.abs(found.arrays["image"]).sum(1) == 0).mean() >= 0.25


def test_the_blur_comes_every_so_many_steps_and_keeps_the_mean(images):
    from dataclasses import replace

    x = images[:1].astype(np.float64)
    request = ViewRequest(x, settings={"step": 4, "every": 4, "width": 1.0})
    smooth = blurred(x, request)
    assert total_variation(smooth)[0] < total_variation(x)[0] / 4
    assert smooth.mean() == pytest.approx(x.mean(), rel=0.2)
    assert blurred(x, replace(request, settings={**request.settings, "step": 5})) is x


def test_small_pixels_are_those_of_small_norm_over_channels():
    x = np.zeros((1, 2, 2, 2))
    x[0, :, 0, 0], x[0, :, 0, 1], x[0, :, 1, 0], x[0, :, 1, 1] = (3, 4), (0.3, 0.4), (1, 0), (0, 2)
    kept = clipped(x, ViewRequest(x, settings={"percentile": 50}))
    assert (kept[0, :, 0, 0] == (3, 4)).all()
    assert (kept[0, :, 1, 1] == (0, 2)).all()
    assert not kept[0, :, 0, 1].any()
    assert not kept[0, :, 1, 0].any()


def test_the_gradient_of_total_variation_is_what_differences_are(images):
    x, gradient = images.astype(np.float64), total_variation(images.astype(np.float64))[1]
    for place in ((0, 0, 0, 0), (1, 1, 4, 5), (0, 1, 8, 7)):
        step = np.zeros_like(x)
        step[place] = 1e-5
        slope = (total_variation(x + step)[0] - total_variation(x - step)[0]) / 2e-5
        assert gradient[place] == pytest.approx(slope, rel=1e-6)


def test_a_reconstruction_nears_the_representation_by_the_right_gradient(model, images, by_hand):
    torch, found = by_hand.torch, made(model, images, "reconstruction", steps=60, smoothness=0.3)
    target = by_hand(torch.tensor(images[:1], dtype=torch.float64))[1]["conv2"]
    x = torch.tensor(start(model, 0.1), requires_grad=True)
    gap = by_hand(x)[1]["conv2"] - target
    rough = (x.diff(dim=2) ** 2).sum() + (x.diff(dim=3) ** 2).sum()
    ((gap**2).sum() / (target**2).sum() + 0.3 / x.numel() * rough).backward()
    np.testing.assert_allclose(found.arrays["first_gradient"], x.grad, rtol=1e-5, atol=1e-9)
    assert found.figures["loss_at_end"] < found.figures["loss_at_start"] / 3


def test_a_dream_has_more_of_what_the_node_sees_by_the_right_gradient(model, images, by_hand):
    found = made(model, images, "deep_dream", steps=10, jitter=1)
    x = by_hand.torch.tensor(images[:1], dtype=by_hand.torch.float64, requires_grad=True)
    (by_hand(x)[1]["conv2"] ** 2).mean().backward()
    np.testing.assert_allclose(found.arrays["first_gradient"], x.grad, rtol=1e-5, atol=1e-9)
    assert found.figures["value_at_end"] > 1.2 * found.figures["value_at_start"]


@pytest.mark.parametrize("name", ["style_adam", "style_lbfgs"])
def test_style_transfer_descends_by_the_right_gradient(model, images, by_hand, name):
    torch, found = by_hand.torch, made(model, images, name, steps=15)
    names = ["relu1", "relu2"]
    other = torch.tensor(images[1:2][:, :, ::-1].copy(), dtype=torch.float64)
    wanted = {key: by_hand(other)[1][key].flatten(2)[0] for key in names}
    x = torch.tensor(images[:1], dtype=torch.float64, requires_grad=True)
    kept = by_hand(x)[1]
    total = 0
    for key in names:
        maps = kept[key].flatten(2)[0]
        k, m = maps.shape
        total = total + 1000 / 2 * ((maps @ maps.T - wanted[key] @ wanted[key].T) ** 2).sum() / (4 * k**2 * m**2)
    total.backward()  # the content's own term is 0 at its image
    np.testing.assert_allclose(found.arrays["first_gradient"], x.grad, rtol=1e-5, atol=1e-6)
    assert found.figures["loss_at_end"] < found.figures["loss_at_start"] * 0.75


def test_a_gram_matrix_sums_products_of_channels_over_places(images):
    expected = [[float((images[0, i] * images[0, j]).sum()) for j in range(2)] for i in range(2)]
    np.testing.assert_allclose(gram(images[:1]), expected, rtol=1e-5)


def test_both_descents_find_the_least_of_a_quadratic_and_take_no_step_where_none_is_asked():
    scales = np.array([[1.0, 10.0, 100.0]])

    def objective(x):
        return float((scales * (x - 2) ** 2).sum()), 2 * scales * (x - 2)

    for descend in (
        lambda n: adam(objective, np.zeros((1, 3)), n, 0.1),
        lambda n: lbfgs(objective, np.zeros((1, 3)), n),
    ):
        np.testing.assert_allclose(descend(400).image, 2, atol=1e-3)
        still = descend(0)
        assert (still.image == 0).all()
        np.testing.assert_array_equal(still.first_gradient, -4 * scales)
