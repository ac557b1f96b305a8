"""Guided backpropagation and deconvnet: against PyTorch with a backward rule of its own at every ReLU."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_network import viewed

import cnnbench
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Add, Conv, Flatten, Linear, ReLU
from cnnbench.spec.weights import general_position
from cnnbench.views.rectified import deconvnet, depth, guided_backpropagation, through_rectifiers
from cnnbench.views.saliency import SALIENCY
from cnnbench.views.view import ViewRequest

KINDS = (3, 1)


def ruled(torch, rule):
    """A ReLU whose backward pass is (input, what comes back) -> what goes on."""

    class Ruled(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            context.save_for_backward(x)
            return x.clamp(min=0)

        @staticmethod
        def backward(context, back):
            return rule(context.saved_tensors[0], back)

    return Ruled.apply


@pytest.mark.parametrize(
    ("view", "rule"),
    [
        pytest.param(guided_backpropagation, lambda x, back: (x > 0) * back.clamp(min=0), id="guided"),
        pytest.param(deconvnet, lambda x, back: back.clamp(min=0), id="deconvnet"),
    ],
)
def test_the_rule_is_applied_at_every_relu(model, images, by_hand, view, rule):
    x = by_hand.torch.tensor(images, dtype=by_hand.torch.float64, requires_grad=True)
    scores, _ = by_hand(x, ruled(by_hand.torch, rule))
    sum(scores[row, kind] for row, kind in enumerate(KINDS)).backward()
    found = view(viewed(model), ViewRequest(images.astype(np.float64), KINDS))
    (gradient,) = found.arrays.values()
    np.testing.assert_allclose(gradient, x.grad, rtol=1e-10, atol=1e-14)
    assert np.abs(gradient - SALIENCY(viewed(model), ViewRequest(images, KINDS)).arrays["gradient"]).max() > 0.01


def branched():
    """Two branches of different depth that meet: relu1 is read by relu2's convolution and by the sum."""
    builder = Builder("branched")
    x = builder.add(
        "relu1",
        ReLU(),
        builder.add("conv1", Conv(out_channels=3, kernel_size=3, padding=1), builder.input("x", (2, 5, 5))),
    )
    y = builder.add("relu2", ReLU(), builder.add("conv2", Conv(out_channels=3, kernel_size=3, padding=1), x))
    z = builder.add("relu3", ReLU(), builder.add("sum", Add(), x, y))
    graph = builder.build(builder.add("fc", Linear(out_features=4), builder.add("flatten", Flatten(), z)))
    return cnnbench.Model(graph, general_position(graph, 2))


def test_without_the_rule_the_pieces_give_the_plain_gradient_of_a_branched_network():
    network, images = viewed(branched()), np.random.default_rng(0).normal(size=(1, 2, 5, 5))
    request = ViewRequest(images, (2,))
    plain = through_rectifiers(network, request, guided=True, positive=False)
    np.testing.assert_allclose(plain, SALIENCY(network, request).arrays["gradient"], rtol=1e-10, atol=1e-14)


def test_depth_counts_relus_that_lie_behind_one_another():
    graph = branched().graph
    assert depth(graph, {name: graph.node(name) for name in ("relu1", "relu2", "relu3")}) == 3
    assert depth(graph, {"relu1": graph.node("relu1")}) == 1
