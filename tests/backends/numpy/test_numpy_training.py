"""Losses and optimiser steps follow their closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cnnbench_numpy.backend import NumpyBackend
from cnnbench_numpy.losses import LOSSES

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import BatchNorm, Conv, Flatten, Linear, RadialBasis, ReLU
from cnnbench.spec.losses import CrossEntropy, MeanSquaredError
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.weights import initialize, split_state

LOGITS = np.array([[2.0, -1.0, 0.5], [900.0, 0.0, -900.0]])


def loss_and_gradient(loss, output, targets):
    return LOSSES.find(loss, output.shape)(output, targets)


def test_cross_entropy_is_minus_the_log_of_the_target_probability():
    loss, _ = loss_and_gradient(CrossEntropy(), LOGITS, np.array([2, 0]))
    first = -0.5 + math.log(math.exp(2.0) + math.exp(-1.0) + math.exp(0.5))
    assert loss == pytest.approx(first / 2, rel=1e-12)


def test_label_smoothing_mixes_in_the_uniform_distribution():
    x = LOGITS[:1]
    log_p = x[0] - math.log(sum(math.exp(v) for v in x[0]))
    loss, _ = loss_and_gradient(CrossEntropy(label_smoothing=0.3), x, np.array([1]))
    assert loss == pytest.approx(-0.7 * log_p[1] - 0.1 * log_p.sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (CrossEntropy(), np.array([2, 0])),
        (CrossEntropy(label_smoothing=0.1), np.array([1, 1])),
        (MeanSquaredError(), np.array([[0.5, 1.0, -2.0], [3.0, 0.0, 1.0]])),
    ],
)
def test_loss_gradients_are_central_differences(loss, targets):
    x = np.random.default_rng(0).normal(size=(2, 3))
    _, gradient = loss_and_gradient(loss, x, targets)
    for index in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[index] += 1e-5
        below[index] -= 1e-5
        slope = (loss_and_gradient(loss, above, targets)[0] - loss_and_gradient(loss, below, targets)[0]) / 2e-5
        assert gradient[index] == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_mean_squared_error_is_the_mean_over_all_elements():
    loss, gradient = loss_and_gradient(MeanSquaredError(), np.array([[1.0, 4.0]]), np.array([[0.0, 2.0]]))
    assert loss == 2.5
    assert gradient.tolist() == [[1.0, 2.0]]


def small_network():
    b = Builder("small")
    x = b.input("image", (2, 4, 4))
    x = b.add("bn", BatchNorm(), b.add("conv", Conv(out_channels=3, kernel_size=3), x))
    x = b.add("fc", Linear(out_features=4), b.add("flat", Flatten(), b.add("relu", ReLU(), x)))
    return b.build({"logits": b.add("rbf", RadialBasis(out_features=3, output="logit"), x)})


def options(mode="reference", name="float64", **fields):
    return ProgramOptions(mode=mode, precision=precision(name), **fields)


def batches(count, seed=0):
    generator = np.random.default_rng(seed)
    return [
        {"image": generator.normal(size=(5, 2, 4, 4)), "targets": generator.integers(0, 3, 5)} for _ in range(count)
    ]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", ["all", "kernels"])
def test_sgd_steps_follow_the_update_rule(momentum, nesterov, decay):
    graph, backend = small_network(), NumpyBackend()
    weights, state = split_state(graph, initialize(graph, 0))
    optimizer = SGD(momentum=momentum, nesterov=nesterov, weight_decay=0.01, decay=decay)
    step = backend.compile_step(graph, options(training=True), CrossEntropy(), optimizer)
    gradient = backend.compile_gradient(graph, options(training=True), CrossEntropy())
    step.load(weights, state)
    w = {name: array.astype(float) for name, array in weights.items()}
    m = {name: np.zeros_like(array) for name, array in w.items()}
    for rate, batch in zip((0.1, 0.05), batches(2), strict=True):
        gradient.load(w, state)
        g = gradient.download(gradient.run(gradient.upload(batch)))
        assert step.loss(step.run(step.upload(batch), rate)) == pytest.approx(g.loss, rel=1e-12)
        for name, slope in g.weights.items():
            d = slope + (0.01 * w[name] if decay == "all" or name in ("conv.weight", "fc.weight") else 0)
            m[name] = momentum * m[name] + d
            w[name] = w[name] - rate * (d + momentum * m[name] if nesterov else m[name])
        state = g.state
    after = step.snapshot()
    assert after.weights.keys() == weights.keys()
    for name, array in after.weights.items():
        np.testing.assert_allclose(array, w[name], rtol=1e-12, atol=1e-14)
    for name, array in after.state.items():
        np.testing.assert_allclose(array, state[name], rtol=1e-12)
    assert after.slots.keys() == ({f"{name}/momentum" for name in g.weights} if momentum else set())
    for name, array in after.slots.items():
        np.testing.assert_allclose(array, m[name.partition("/")[0]], rtol=1e-12, atol=1e-14)


def test_float32_stays_float32():
    graph = small_network()
    step = NumpyBackend().compile_step(graph, options(training=True, name="float32"), CrossEntropy(), SGD())
    step.load(*split_state(graph, initialize(graph, 0)))
    result = step.run(step.upload(batches(1)[0]), np.float64(0.1))
    assert result.dtype == np.float32
    for arrays in step.snapshot():
        assert {array.dtype for array in arrays.values()} == {np.dtype("float32")}


def test_a_loss_moves_with_the_input_along_its_gradient():
    graph = small_network()
    program = NumpyBackend().compile_gradient(graph, options(training=True), CrossEntropy(label_smoothing=0.1))
    program.load(*split_state(graph, initialize(graph, 0)))
    batch = batches(1)[0]
    found = program.download(program.run(program.upload(batch)))
    direction = np.random.default_rng(3).normal(size=batch["image"].shape)

    def loss(shift):
        moved = {**batch, "image": batch["image"] + shift * direction}
        return program.download(program.run(program.upload(moved))).loss

    slope = (loss(1e-6) - loss(-1e-6)) / 2e-6
    assert slope == pytest.approx(float((found.inputs["image"] * direction).sum()), rel=1e-6)
