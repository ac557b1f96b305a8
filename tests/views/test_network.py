"""The seam: values and gradients of inner nodes, on every backend, and what cannot be looked at."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_network import MODES, viewed

import cnnbench
from cnnbench.errors import SpecError, SuiteError
from cnnbench.face.networks import Model
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Flatten, Linear, Softmax
from cnnbench.spec.weights import initialize
from cnnbench.views.cuts import opened
from cnnbench.views.network import ViewedNetwork


def cotangents(model, images):
    return {"relu2": np.random.default_rng(1).normal(size=(len(images), *model.graph.shapes()["relu2"][1:]))}


@pytest.mark.parametrize(("backend", "mode"), MODES)
def test_a_gradient_cut_at_a_node_is_that_of_the_whole_by_the_chain_rule(model, images, backend, mode):
    network = viewed(model, backend, mode)
    whole = network.gradient(images, cotangents(model, images))
    inner, at_cut = network.inner_gradient(images, "relu1", cotangents(model, images))
    np.testing.assert_allclose(inner, network.values(images, ["relu1"])["relu1"])
    np.testing.assert_allclose(network.gradient(images, {"relu1": at_cut}), whole, rtol=1e-9, atol=1e-12)


def test_more_images_than_fit_into_a_call_are_what_each_alone_is(model, images):
    network, many = viewed(model), np.tile(images, (9, 1, 1, 1))[:17]
    g = cotangents(model, many)
    one = np.stack([network.gradient(many[i : i + 1], {"relu2": g["relu2"][i : i + 1]})[0] for i in range(17)])
    np.testing.assert_allclose(network.gradient(many, g), one, rtol=1e-12)
    np.testing.assert_allclose(network.values(many, ["fc"])["fc"][16], network.values(images, ["fc"])["fc"][0])


def test_a_cut_graph_keeps_the_value_as_an_output_and_reads_the_input_in_its_place(model):
    cut = opened(model.graph, ["relu1"])
    assert [item.name for item in cut.inputs] == ["image", "opened.relu1"]
    assert cut.node("conv2").inputs == ("opened.relu1",)
    assert cut.shapes()["relu1"] == cut.shapes()["opened.relu1"]


def test_scores_are_taken_before_a_softmax_at_the_end():
    builder = Builder("with softmax")
    flat = builder.add("flatten", Flatten(), builder.input("x", (1, 2, 2)))
    x = builder.add("fc", Linear(out_features=3), flat)
    graph = builder.build(builder.add("shares", Softmax(), x))
    assert viewed(Model(graph, initialize(graph, 0))).scores == "fc"


def test_a_network_without_classes_has_none():
    graph = cnnbench.build("conv_autoencoder")
    with pytest.raises(SuiteError, match="conv_autoencoder has no classes"):
        _ = ViewedNetwork(graph, {}, None).scores


def test_a_network_of_another_input_is_refused():
    graph = cnnbench.build("ddpm_unet", image=(3, 16, 16))
    with pytest.raises(SpecError, match="one input is a batch of images"):
        ViewedNetwork(graph, {}, None)


def test_a_class_and_a_node_that_are_not_there_are_named_with_what_is(model):
    network = viewed(model)
    with pytest.raises(SuiteError) as wrong:
        network.one_hot([5])
    assert wrong.value.expected == "0 to 4"
    with pytest.raises(SuiteError) as unknown:
        network.node("relu3")
    assert "did you mean 'relu" in unknown.value.remedy
