"""Hard operands: every kind has some or says why not, budgets hold on them, and what only they show is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.conformance import layer_cases
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.faults import fault, faulty_subject
from cnnbench.numerics.faults.engine.drawn import Drawn, boxes, integers, normal, on
from cnnbench.numerics.hard_case import hard_case
from cnnbench.numerics.hard_operands import Hardness, hard_rule, reason_for_none
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.rounding import limits
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.registry import layer_kinds
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Conv, MaxPool
from cnnbench.spec.layers.roi_align import RoIAlign
from cnnbench.spec.weights import initialize

FLOAT32 = ProgramOptions("reference", precision("float32"))
ONLY_HARD = (
    "batch_norm.eps_off_by_a_thousandth",
    "grid_sample.reflected_once",
    "gru.clipped",
    "instance_norm.one_pass_beside_small_means",
    "level_roi_align.clipped_regions",
    "lp_normalization.epsilon_added",
    "lstm.clipped",
    "rnn.clipped",
    "rnn.overflowing_tanh",
    "roi_align.clipped_regions",
    "roi_align.edges_left_out",
    "roi_align.narrow_coordinates",
    "roi_align.one_pixel_at_least",
    "scaled_ws_conv.no_floor",
    "sigmoid.clamped",
)


def test_every_shipped_kind_has_hard_operands_or_says_why_not():
    for kind, layer in layer_kinds().items():
        if not layer.__module__.startswith("cnnbench.") or layer.is_composite:
            continue  # a composite is checked as its parts
        declared = (hard_rule(kind) is not None) + (reason_for_none(kind) is not None)
        assert declared == 1 or kind in ("layout_change", "max_pool_positions"), kind


def test_every_size_holds_what_activations_lose():
    for policy in map(precision, ("float32", "bfloat16", "float16", "float64")):
        hard = Hardness.of(policy, np.random.default_rng(0))
        x = hard.every_size((4, 300))
        largest, smallest = limits(policy)
        assert np.isfinite(x).all()
        assert np.abs(x).max() == hard.far > 1000
        assert np.abs(x).max() < largest
        assert np.abs(x[x != 0]).min() == smallest
        for wanted in (0.0, 6.0, 87.0, 104.0, 127.5):
            assert {-wanted, wanted} <= set(x.ravel().tolist())
        assert np.signbit(x[x == 0]).any()


def test_rows_take_their_patterns_by_turns():
    hard = Hardness.of(precision("float32"), np.random.default_rng(0))
    x = hard.rows((2, 3, 4), (0, 2), (lambda rows: np.full(rows, 1.0), lambda rows: np.full(rows, 2.0)))
    assert x[:, :, 0].tolist() == [[1, 2, 1], [1, 2, 1]]


@pytest.mark.parametrize(
    "name",
    [
        "batch_norm/plain",
        "layer_norm/two_axes",
        "softmax/channels",
        "gelu/exact",
        "grid_sample/cubic_reflection",
        "scaled_ws_conv/large_eps",
        "lp_normalization/euclidean",
        "lstm/hard_sigmoid_affine_softplus",
        "gru/softsign_thresholded_relu_before",
    ],
)
@pytest.mark.parametrize(
    "backend",
    [
        "numpy",
        pytest.param("torch", marks=pytest.mark.torch),
        pytest.param("jax", marks=[pytest.mark.jax, pytest.mark.slow]),
        pytest.param("tensorflow", marks=[pytest.mark.tensorflow, pytest.mark.slow]),
    ],
)
def test_a_correct_backend_passes_on_hard_operands(backend, name):
    if backend != "numpy":
        pytest.importorskip(backend, reason=f"needs {backend}")
    subject = InProcessSubject(loaded_backend(backend))
    for seed in range(2):
        case = layer_cases()[name].case(FLOAT32_OF[backend], seed=seed)
        for outcome in run_checks(["local", "gradient"], subject, case):
            assert outcome.status == "passed", outcome.message
            assert outcome.details["hard"] > 0


FLOAT32_OF = {
    "numpy": ProgramOptions("fast", precision("float32")),
    "torch": ProgramOptions("eager", precision("float32")),
    "jax": ProgramOptions("jit", precision("float32")),
    "tensorflow": ProgramOptions("graph", precision("float32")),
}


@pytest.mark.parametrize("name", ONLY_HARD)
def test_what_ordinary_operands_hide_is_found_on_hard_ones(name):
    case = fault(name).case(FLOAT32, 0)
    (outcome,) = run_checks(["local"], faulty_subject(loaded_backend("numpy"), name), case)
    assert outcome.status == "failed"
    assert outcome.node == "suspect"
    assert outcome.details["operands"] == "hard"
    assert outcome.message.startswith("on hard operands, suspect")
    assert outcome.budget_used > 10


@pytest.mark.parametrize("samples", [0, 2, 3])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_regions_on_edges_without_length_and_beyond_the_map_are_pooled_rightly(samples, mode):
    layer = RoIAlign(output_size=(2, 3), spatial_scale=0.25, sampling_ratio=samples, mode=mode, aligned=samples != 3)
    regions = Drawn((24, 4), boxes(36.0), batched=False), Drawn((24,), integers(2), batched=False)
    case = on(layer, Drawn((2, 9, 12), normal()), *regions)(FLOAT32, 0)
    corners = hard_case(case).batch["forced.suspect.1"]
    assert (corners[:, 2:] == corners[:, :2]).any()
    assert (corners.min() < 0) & (corners.max() > 1000)
    for outcome in run_checks(["local", "gradient"], InProcessSubject(loaded_backend("numpy")), case):
        assert outcome.status == "passed", outcome.message
        assert outcome.details["hard"] > 0


def test_hard_operands_are_those_of_the_seed_and_of_the_precision():
    case = layer_cases()["softmax/channels"].case(FLOAT32)
    one, same, other = hard_case(case), hard_case(case), hard_case(replace(case, seed=1))
    for name, x in one.batch.items():
        assert np.array_equal(x, same.batch[name])
        assert not np.array_equal(x, other.batch[name])
    narrow = hard_case(replace(case, options=ProgramOptions("reference", precision("float16"))))
    assert max(np.abs(x).max() for x in narrow.batch.values()) <= 65504
    assert Oracle.of(one).case is one


class WrongAboveEightyRows:
    """A backend whose gradients are wrong for large images only."""

    def __init__(self) -> None:
        self.inner = InProcessSubject(loaded_backend("numpy"))
        self.forward, self.steps = self.inner.forward, self.inner.steps

    def gradient(self, graph, arrays, batch, options, loss=None):
        found = self.inner.gradient(graph, arrays, batch, options, loss)
        if max(item.shape[-1] for item in graph.inputs) < 80:
            return found
        weights = {name: 1.1 * g if name.startswith("conv") else g for name, g in found.weights.items()}
        inputs = {name: g[..., ::-1] if "pool" in name else g for name, g in found.inputs.items()}
        return found._replace(weights=weights, inputs=inputs)


@pytest.mark.parametrize("suspect", ["conv", "pool"])
def test_gradients_that_are_wrong_for_large_images_only_are_found(suspect, monkeypatch):
    """The network is examined on images of 32 pixels, and each of its layers at its own size besides."""
    monkeypatch.setattr("cnnbench.numerics.case.LARGE_MACS", 1)
    layer = Conv(out_channels=2, kernel_size=3) if suspect == "conv" else MaxPool(kernel_size=2)
    builder = Builder("large")
    value = builder.add(suspect, layer, builder.input("image", (2, 96, 96)))
    graph = builder.build(builder.add("after", Conv(out_channels=1, kernel_size=1), value))
    image = np.random.default_rng(0).normal(size=(2, 2, 96, 96)).astype(np.float32)
    case = Case(graph, initialize(graph, 0), {"image": image}, FLOAT32)
    assert case.reduced.graph.inputs[0].shape == (2, 32, 32)
    (outcome,) = run_checks(["gradient"], WrongAboveEightyRows(), case)
    assert (outcome.status, outcome.node) == ("failed", suspect)
    assert run_checks(["gradient"], InProcessSubject(loaded_backend("numpy")), case)[0].status == "passed"
