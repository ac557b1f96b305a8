"""What elements of a value err by in common is in the noise of perturbed runs, for every kind that has such errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.budgets import GradientSetting, Setting, forward_budget, gradient_budget
from cnnbench.numerics.budgets.shared import Shared, ValueNoise
from cnnbench.numerics.cache import Cache
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks.training_steps import compare_steps
from cnnbench.numerics.noise import Noises
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.reference import LayerCall, alone, reference
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import BatchNorm, Conv, GlobalAvgPool, Linear, ReLU, Softmax
from cnnbench.spec.layers.activation import LogSoftmax
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.layers.magnitude import FilterResponseNorm, LpNorm, RMSNorm
from cnnbench.spec.layers.standardization import GroupNorm, InstanceNorm, LayerNorm, MeanVarianceNorm
from cnnbench.spec.layers.weight_standardization import ScaledWSConv
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import general_position

FLOAT32 = precision("float32")
LAYERS: dict[str, Any] = {
    "batch_norm": BatchNorm(),
    "group_norm": GroupNorm(groups=2),
    "instance_norm": InstanceNorm(),
    "layer_norm": LayerNorm(start_axis=1),
    "mean_variance_norm": MeanVarianceNorm(axes=(0, 2, 3)),
    "softmax": Softmax(axis=-1),
    "log_softmax": LogSoftmax(axis=-1),
    "rms_norm": RMSNorm(start_axis=1),
    "filter_response_norm": FilterResponseNorm(),
    "lp_normalization": LpNorm(axis=-1),
    "scaled_ws_conv": ScaledWSConv(out_channels=4, kernel_size=3, padding=1),
    "conv": Conv(out_channels=4, kernel_size=3, padding=1),
    "conv without bias": Conv(out_channels=4, kernel_size=3, padding=1, bias=False),
    "conv_transpose": ConvTranspose(out_channels=4, kernel_size=2, stride=2),
    "linear": Linear(out_features=8),
}


def call_of(layer: Any, seed: int) -> LayerCall:
    """The layer on values far from 0, so that its mean errs, and with arrays in general position."""
    draw = stream(seed, "shared", layer.kind)
    x = (draw.normal(size=(2, 4, 128, 128)) + 3).astype(np.float32).astype(np.float64)
    shapes = (x.shape,)
    layer = layer.resolve(shapes)
    plain = LayerCall(layer, (x,), training=True)
    drawn = [(draw.normal(size=s.shape) + 2).astype(np.float32) for s in (*layer.weights(shapes), *layer.state(shapes))]
    wide, count = [np.asarray(a, np.float64) for a in drawn], len(layer.weights(shapes))
    return replace(plain, weights=tuple(wide[:count]), state=tuple(wide[count:]))


def spreads(noise: ValueNoise, axes: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The standard deviation of the noise's mean along some axes."""
    draws = [noise.draw(stream(run, "spread"), shape).mean(axis=axes) for run in range(12)]
    return np.asarray(np.sqrt(np.mean(np.square(draws), axis=0)))


def beyond(errors: np.ndarray[Any, Any], noise: ValueNoise) -> Iterator[tuple[tuple[int, ...], float]]:
    """For each choice of axes, how many standard deviations of the noise's mean the errors' mean is at most."""
    rank = errors.ndim
    for axes in (axes for count in range(1, rank + 1) for axes in combinations(range(rank), count)):
        yield axes, float(np.max(np.abs(errors.mean(axis=axes)) / spreads(noise, axes, errors.shape)))


@pytest.mark.parametrize("kind", LAYERS)
def test_no_mean_of_a_backends_errors_lies_beyond_the_noises(kind):
    """Of independent noise, a batch norm in resnet20 erred by 16 standard deviations of its channel's mean."""
    backend, call = loaded_backend("numpy"), call_of(LAYERS[kind], 0)
    graph, batch, arrays = alone(call)
    g = stream(0, "cotangent").normal(size=reference().forward(call).outputs[0].shape).astype(np.float32) + 2.0
    options = ProgramOptions("fast", FLOAT32, "channels_first", training=True)
    narrow = {name: np.asarray(a, np.float32) for name, a in (batch | {"gradient.output0": g}).items()}
    subject, arrays = InProcessSubject(backend), {name: np.asarray(a, np.float32) for name, a in arrays.items()}
    values, exact = reference().forward(call), reference().gradient(call, (g,))
    forward = forward_budget(Setting(call, values, FLOAT32, reference()))
    backward = gradient_budget(GradientSetting(call, values, FLOAT32, reference(), (g,), exact))
    made = subject.forward(graph, arrays, {n: a for n, a in narrow.items() if n in batch}, options).outputs["output0"]
    moved = subject.gradient(graph.with_float_outputs(), arrays, narrow, options).inputs["input0"]
    of_output = ValueNoise.of(forward.outputs[0].sharp, forward.shared)
    assert max(share for _, share in beyond(made - values.outputs[0], of_output)) < 4
    assert backward.inputs[0] is not None
    of_input = ValueNoise.of(backward.inputs[0].sharp, backward.shared)
    assert max(share for _, share in beyond(moved - exact.inputs[0], of_input)) < 4


def test_shared_noise_stays_within_the_sharp_budget():
    """The shared parts are taken from it, and nothing is added to it."""
    for kind, layer in LAYERS.items():
        call = call_of(layer, 1)
        budget = forward_budget(Setting(call, reference().forward(call), FLOAT32, reference()))
        sharp = budget.outputs[0].sharp
        noise = ValueNoise.of(sharp, budget.shared).draw(stream(0, kind), reference().forward(call).outputs[0].shape)
        assert (np.abs(noise) <= sharp * (1 + 1e-6)).all(), kind


def test_elements_that_share_a_number_move_together():
    noise = ValueNoise.of(np.full((2, 3, 4), 2.0), (Shared(np.full((1, 3, 1), 2.0), (0, 2)),))
    drawn = noise.draw(stream(0, "shared"), (2, 3, 4))
    assert (drawn == drawn[:1, :, :1]).all()
    assert len(np.unique(drawn)) == 3
    in_view = ValueNoise.of(np.ones((2, 4, 3)), (Shared(np.ones((2, 4, 3)), (2,), (2, 6)),)).draw(
        stream(1, "view"), (2, 4, 3)
    )
    assert len(np.unique(in_view)) == 4  # two rows of six in each image


def two_norms() -> Graph:
    """A batch norm behind another one, and a global average."""
    b = Builder("two norms")
    x = b.input("image", (3, 32, 32))
    for i in range(2):
        x = b.add(f"conv{i}", Conv(out_channels=8, kernel_size=3, padding=1, bias=False), x)
        x = b.add(f"relu{i}", ReLU(), b.add(f"norm{i}", BatchNorm(), x))
    return b.build({"logits": b.add("fc", Linear(out_features=10), b.add("pool", GlobalAvgPool(), x))})


def test_no_seed_of_a_small_network_with_batch_norms_raises_an_alarm(tmp_path):
    """With noise that is independent in each element, four of eight did, by up to 1.8 envelopes.

    A quarter of the envelope is kept free: the sums of a gradient that all positions have alike, as behind a global
    average, once used 0.92 of it.
    """
    subject, graph, used = InProcessSubject(loaded_backend("numpy")), two_norms(), []
    for seed in range(8):
        images = {"image": stream(seed, "inputs").normal(size=(2, 3, 32, 32)).astype(np.float32)}
        case = Case(graph, general_position(graph, seed), images, ProgramOptions("fast", FLOAT32), seed=seed)
        case = replace(case, training=replace(case.training.few(1), held=0, later=()))
        used.append(compare_steps(subject, Oracle(case, Cache(tmp_path, 2**30))).used)
    assert max(used) < 0.75


def test_running_statistics_are_moved_where_they_are_made():
    """They are rounded by the update itself, too, which no other value's noise shows."""
    graph = two_norms()
    images = {"image": stream(0, "inputs").normal(size=(2, 3, 32, 32)).astype(np.float32)}
    case = Case(graph, general_position(graph, 0), images, ProgramOptions("fast", FLOAT32))
    reverse = Noises.of(case).reverse
    assert [len(sizes) for sizes in reverse.states] == [2, 2]
    options = ProgramOptions("reference", precision("float64"), "channels_first", training=True)
    clean = reference().subject.forward(graph, case.stored, case.training_batch(), options).state
    with reverse.perturbed(stream(0, "x")) as subject:
        moved = subject.forward(graph, case.stored, case.training_batch(), options).state
    for sizes, node in zip(reverse.states, ("norm0", "norm1"), strict=True):
        for size, name in zip(sizes, ("running_mean", "running_var"), strict=True):
            apart = np.abs(moved[f"{node}.{name}"] - clean[f"{node}.{name}"])
            assert (apart <= size.own).all()
            assert apart.max() > 0.2 * size.own.max()


def test_a_micro_batch_moves_by_what_the_mean_over_fewer_images_errs():
    whole = ValueNoise.of(np.full((6, 3, 4), 3.0), (Shared(np.full((1, 3, 1), 2.0), (0, 2)),))
    part = whole.of_images(2)
    drawn = part.draw(stream(0, "part"), (2, 3, 4))
    assert np.abs(drawn).max() <= 9
    assert np.abs(drawn).max() > 3
    assert whole.of_images(6) is whole
