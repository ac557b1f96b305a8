"""A loss as the last layers of a network."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.registry import build
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Linear, ReLU
from cnnbench.spec.losses import (
    VAE,
    CrossEntropy,
    MeanSquaredError,
    NoisePrediction,
    Objective,
    draw_loss_targets,
    objective_graph,
)


def network(name="fc", given=()):
    """Two layers, of which the second serves only a second output."""
    builder = Builder("two outputs")
    x = builder.input("x", (4,))
    for item, shape in given:
        builder.input(item, shape)
    main = builder.add(name, Linear(out_features=3), x)
    return builder.build({"logits": main, "features": builder.add("other", Linear(out_features=2), main)})


@pytest.mark.parametrize("loss", [CrossEntropy(label_smoothing=0.1), MeanSquaredError()], ids=lambda loss: loss.kind)
def test_a_loss_within_the_graph_is_the_loss_behind_it(loss):
    graph, rng = network(), np.random.default_rng(0)
    whole = objective_graph(graph, loss)
    assert [name for name, _ in whole.outputs] == ["loss"]
    batch = {"x": rng.normal(size=(5, 4)), **draw_loss_targets(graph, loss, rng, 5)}
    arrays = {spec.name: rng.normal(size=spec.shape) for spec in graph.named_weights()}
    subject, options = reference().subject, reference_options(training=True)
    kept = {name: array for name, array in arrays.items() if name.startswith("fc")}
    inside = subject.gradient(whole, kept, batch, options, Objective())
    behind = subject.gradient(graph, arrays, batch, options, loss)
    assert inside.loss == pytest.approx(behind.loss, rel=1e-12)
    np.testing.assert_allclose(inside.weights["fc.weight"], behind.weights["fc.weight"], rtol=1e-10)


def test_layers_that_the_loss_does_not_need_are_left_out():
    whole = objective_graph(network(), MeanSquaredError())
    assert [spec.name for spec in whole.named_weights()] == ["fc.weight", "fc.bias"]


def test_a_graph_that_ends_in_its_loss_stays_as_it_is():
    whole = objective_graph(network(), MeanSquaredError())
    assert objective_graph(whole, Objective()) is whole


def test_a_target_that_is_an_input_is_that_input():
    whole = objective_graph(build("conv_vae"), VAE())
    assert [item.name for item in whole.inputs] == ["image", "noise"]
    assert [name for name, _ in whole.outputs] == ["loss", "reconstruction", "divergence"]
    apart = objective_graph(build("conv_vae"), VAE(target="clean"))
    assert [item.name for item in apart.inputs] == ["image", "noise", "clean"]
    assert draw_loss_targets(build("conv_vae"), VAE(), np.random.default_rng(0), 2) == {}


def test_what_does_not_fit_is_refused():
    with pytest.raises(SpecError, match="reads the output 'mean', which the network does not have"):
        objective_graph(network(), VAE())
    with pytest.raises(SpecError, match=r"the name 'objective\.fc' is kept for the loss"):
        objective_graph(network("objective.fc"), MeanSquaredError())
    with pytest.raises(SpecError, match="a layer has the name of the loss' target 'targets'"):
        objective_graph(network("targets"), MeanSquaredError())
    with pytest.raises(SpecError, match="the network's input 'wanted' is not what the loss compares with"):
        objective_graph(network(given=[("wanted", (7,))]), NoisePrediction(output="logits", target="wanted"))


def test_a_loss_of_several_outputs_has_no_layer_behind_the_network():
    with pytest.raises(SpecError, match="objective_graph"):
        VAE().layer()


def test_the_loss_may_be_of_an_activation():
    builder = Builder("activated")
    graph = builder.build(builder.add("relu", ReLU(), builder.input("x", (4,))))
    assert [node.name for node in objective_graph(graph, MeanSquaredError()).nodes] == ["relu", "objective.loss"]
