"""The envelope of gradients holds what a correct implementation's reverse pass may do, and no fault."""

from __future__ import annotations

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.cache import Cache
from cnnbench.numerics.calibration import with_loss
from cnnbench.numerics.case import Case
from cnnbench.numerics.comparison import largest_differences
from cnnbench.numerics.envelope import gradient_envelope
from cnnbench.numerics.noise import Noises
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Conv, GlobalAvgPool, Linear, Tanh
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import general_position

MODES = {"numpy": "fast", "torch": "eager"}


def pooled(seed: int, mode: str = "fast") -> Case:
    """A bias whose gradient sums 512 positions of two images that nearly cancel."""
    b = Builder("pooled")
    x = b.input("image", (3, 16, 16))
    x = b.add("conv", Conv(out_channels=8, kernel_size=3, padding=1), x)
    x = b.add("pool", GlobalAvgPool(), b.add("act", Tanh(), x))
    graph = b.build({"logits": b.add("fc", Linear(out_features=10), x)})
    images = stream(seed, "inputs").normal(size=(2, 3, 16, 16)).astype(np.float32)
    options = ProgramOptions(mode, precision("float32"))
    return Case(graph, general_position(graph, seed), {"image": images}, options, seed=seed)


@pytest.mark.parametrize("backend", MODES)
def test_a_correct_backend_stays_inside_over_many_seeds(backend, tmp_path):
    if backend == "torch":
        pytest.importorskip("torch", reason="compares PyTorch's gradients")
    subject = InProcessSubject(loaded_backend(backend))
    used = []
    for seed in range(12):
        case = pooled(seed, MODES[backend])
        exact, envelope = gradient_envelope(Oracle(case, Cache(tmp_path, 2**30)))
        options = ProgramOptions(MODES[backend], precision("float32"), training=True)
        result = subject.gradient(case.graph, case.stored, case.training_batch(), options, case.loss)
        used.append(max(envelope.used(largest_differences(with_loss(result), exact)).values()))
    assert max(used) < 1


def test_the_envelope_stays_far_below_a_fault(tmp_path):
    """A gradient that is wrong by a thousandth, everywhere, lies ten envelopes beyond."""
    case = pooled(0)
    exact, envelope = gradient_envelope(Oracle(case, Cache(tmp_path, 2**30)))
    wrong = {name: value * 1.001 for name, value in exact.items()}
    assert min(envelope.used(largest_differences(wrong, exact)).values()) > 10


def test_noise_is_that_of_the_recorded_budgets():
    case = pooled(0, "reference")
    noises = Noises.of(case)
    noise, given = noises.reverse, {item.name for item in case.lowered.inputs}
    quiet = {i.name: np.zeros(i.full_shape(case.size)) for i in noises.graph.inputs if i.name not in given}
    batch = {**case.training_batch(), **quiet}
    assert len(noise.amplitudes) == len(noises.graph.nodes) == 2 * len(case.lowered.nodes)
    options = ProgramOptions("reference", precision("float64"), "channels_first", training=True)
    with noise.recording() as subject:
        clean = subject.gradient(noises.graph, case.stored, batch, options, case.loss)

    def moved(key: str) -> dict[str, np.ndarray]:
        with noise.perturbed(stream(0, key)) as perturbed:
            return perturbed.gradient(noises.graph, case.stored, batch, options, case.loss).weights

    once, again, other = moved("a"), moved("a"), moved("b")
    for name, value in clean.weights.items():
        assert np.array_equal(once[name], again[name])
        assert not np.array_equal(once[name], other[name])
        assert 0 < np.abs(once[name] - value).max() < 1e-4 * np.abs(value).max()


def test_nothing_is_left_behind_in_the_reference():
    """The reference's own ops are as they were once a perturbed pass is over, also where it failed."""
    noise = Noises.of(pooled(0)).reverse
    options = ProgramOptions("reference", precision("float64"), "channels_first", training=True)
    case = pooled(0)
    with pytest.raises(ZeroDivisionError), noise.perturbed(stream(0, "x")) as subject:
        raise ZeroDivisionError
    first = subject.gradient(case.lowered, case.stored, case.training_batch(), options, case.loss)
    second = InProcessSubject(load_backend("numpy")).gradient(
        case.lowered, case.stored, case.training_batch(), options, case.loss
    )
    assert all(np.array_equal(first.weights[name], second.weights[name]) for name in first.weights)
