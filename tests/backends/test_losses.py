"""Every loss as data on every backend: its value and its gradient, by its own function or by its layer."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import Backend, ProcessSettings, ProgramOptions
from cnnbench.execution.losses import bound_loss, loss_graph
from cnnbench.execution.operations import Operations
from cnnbench.execution.precision import precision
from cnnbench.numerics.subject import InProcessSubject, Updates
from cnnbench.spec.composites.element_loss import MSELoss
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Conv
from cnnbench.spec.losses import (
    L1,
    BCEWithLogits,
    CrossEntropy,
    Dice,
    MeanSquaredError,
    NegativeLogLikelihood,
    Objective,
    SmoothL1,
    SoftCrossEntropy,
    TokenCrossEntropy,
    Yolo,
    loss_from_fields,
)
from cnnbench.spec.optimizers import SGD
from cnnbench.training.evaluation import host_loss

LOSSES = [
    CrossEntropy(label_smoothing=0.1),
    CrossEntropy(class_weights=(0.2, 1.0, 3.0, 0.0, 1.0, 0.5, 2.0), ignore_index=-1),
    SoftCrossEntropy(label_smoothing=0.1),
    TokenCrossEntropy(),
    NegativeLogLikelihood(),
    MeanSquaredError(),
    L1(),
    SmoothL1(beta=0.3),
    BCEWithLogits(pos_weight=2.0),
    Dice(),
    Yolo(boxes=1, classes=2),
]
BACKENDS = [
    ("numpy", "reference"),
    ("numpy", "fast"),
    pytest.param("torch", "eager", marks=pytest.mark.torch),
    pytest.param("jax", "jit", marks=pytest.mark.jax),
    pytest.param("tensorflow", "graph", marks=pytest.mark.tensorflow),
]


@cache
def loaded(name: str) -> Backend:
    backend = load_backend(name)
    backend.configure(ProcessSettings(threads=2))
    return backend


def options(mode: str) -> ProgramOptions:
    return ProgramOptions(mode, precision("float64"), training=True)


def network():
    """A convolution that gives 7 maps: of images, so that targets are images too."""
    builder = Builder("maps")
    x = builder.input("x", (2, 4, 3))
    return builder.build(builder.add("conv", Conv(out_channels=7, kernel_size=1), x))


def operands(loss):
    generator = np.random.default_rng(1)
    x = generator.normal(size=(3, 2, 4, 3))
    arrays = {"conv.weight": generator.normal(size=(7, 2, 1, 1)), "conv.bias": generator.uniform(1, 2, 7)}
    targets = np.asarray(loss.draw_targets(generator, (3, 7, 4, 3)))
    return arrays, {"x": x, "targets": targets}


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.kind)
@pytest.mark.parametrize(("name", "mode"), BACKENDS)
def test_value_and_gradient_are_those_of_the_layer_by_differences(name, mode, loss):
    if name != "numpy":
        pytest.importorskip(name, reason=f"needs {name}")
    arrays, batch = operands(loss)
    found = InProcessSubject(loaded(name)).gradient(network(), arrays, batch, options(mode), loss)

    def value(weight):
        outputs = np.einsum("nchw,kc->nkhw", batch["x"], weight[:, :, 0, 0]) + arrays["conv.bias"][:, None, None]
        return host_loss(loss, outputs, batch["targets"])

    assert found.loss == pytest.approx(value(arrays["conv.weight"]), rel=1e-10)
    direction = np.random.default_rng(2).normal(size=(7, 2, 1, 1))
    slope = (value(arrays["conv.weight"] + 1e-6 * direction) - value(arrays["conv.weight"] - 1e-6 * direction)) / 2e-6
    if loss.kind != "yolo":  # whose gradient takes the overlap for a constant
        assert (found.weights["conv.weight"] * direction).sum() == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(("name", "mode"), BACKENDS)
def test_a_step_lowers_a_loss_without_a_function_of_its_own(name, mode):
    if name != "numpy":
        pytest.importorskip(name, reason=f"needs {name}")
    loss = BCEWithLogits()
    arrays, batch = operands(loss)
    subject = InProcessSubject(loaded(name))
    steps = subject.steps(network(), arrays, [batch] * 3, options(mode), Updates(loss, SGD(), [0.1] * 3))
    losses = [step.loss for step in steps]
    assert losses[0] > losses[1] > losses[2]


def ending_in_its_loss():
    """The network with its mean squared error as last layer, of what comes in as ``targets``."""
    builder = Builder("maps and loss")
    x, wanted = builder.input("x", (2, 4, 3)), builder.input("targets", (7, 4, 3))
    maps = builder.add("conv", Conv(out_channels=7, kernel_size=1), x)
    return builder.build({"loss": builder.add("loss", MSELoss(), maps, wanted), "maps": maps})


@pytest.mark.parametrize(("name", "mode"), BACKENDS)
def test_a_network_that_ends_in_its_loss_trains_as_one_with_that_loss(name, mode):
    if name != "numpy":
        pytest.importorskip(name, reason=f"needs {name}")
    arrays, batch = operands(MeanSquaredError())
    subject = InProcessSubject(loaded(name))
    whole = subject.gradient(ending_in_its_loss(), arrays, batch, options(mode), Objective())
    apart = subject.gradient(network(), arrays, batch, options(mode), MeanSquaredError())
    assert whole.loss == pytest.approx(apart.loss, rel=1e-12)
    for weight, gradient in apart.weights.items():
        np.testing.assert_allclose(whole.weights[weight], gradient, rtol=1e-10, atol=1e-12)
    pairs = ((ending_in_its_loss(), Objective()), (network(), MeanSquaredError()))
    steps = [
        subject.steps(graph, arrays, [batch] * 2, options(mode), Updates(x, SGD(), [0.1] * 2)) for graph, x in pairs
    ]
    assert [step.loss for step in steps[0]] == pytest.approx([step.loss for step in steps[1]], rel=1e-12)


@pytest.mark.parametrize(("name", "mode"), BACKENDS)
def test_an_objective_is_a_scalar(name, mode):
    if name != "numpy":
        pytest.importorskip(name, reason=f"needs {name}")
    with pytest.raises(SpecError, match="must be a scalar") as caught:
        loaded(name).compile_gradient(network(), options(mode), Objective())
    assert "(1, 7, 4, 3)" in str(caught.value)


def test_the_objective_of_outputs_on_the_host_is_the_output():
    assert host_loss(Objective(), np.asarray(2.5), None) == 2.5


def test_losses_are_made_from_plain_data():
    made = [loss_from_fields(loss.kind, {}) for loss in LOSSES]
    assert [type(loss) for loss in made] == [type(loss) for loss in LOSSES]
    assert loss_from_fields("smooth_l1", {"beta": 0.5}) == SmoothL1(beta=0.5)
    with pytest.raises(SpecError, match="beta is not valid"):
        loss_from_fields("smooth_l1", {"beta": 0.0})
    with pytest.raises(SpecError, match="pos_weight is not valid"):
        loss_from_fields("bce_with_logits", {"pos_weight": -1.0})


def test_an_output_that_does_not_fit_is_refused():
    with pytest.raises(SpecError, match="yolo_loss"):
        loss_graph(Yolo(boxes=2, classes=3), (1, 12, 7, 7))
    with pytest.raises(SpecError):
        loss_graph(NegativeLogLikelihood(), (4,))


def test_a_backend_without_the_parts_is_named():
    with pytest.raises(Exception, match="nothing"):
        bound_loss(L1(), (1, 3), Operations("nothing"), options("eager"))
