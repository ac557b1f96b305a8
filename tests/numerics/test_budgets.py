"""Budgets against naive sums, against NumPy and PyTorch in float32 and narrower, and against wrong arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loaded_backends import loaded_backend

from cnnbench.conformance import LayerCase, layer_cases
from cnnbench.errors import SpecError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.budgets import budget_form
from cnnbench.numerics.budgets.base import GradientSetting, Setting, forward_budget, gradient_budget
from cnnbench.numerics.budgets.running_error import Arithmetic, Tracked
from cnnbench.numerics.budgets.sensitivity import measured_forward, measured_gradient
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.oracle import walk
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.numerics.rounding import Roundoff, gamma
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.composites import Composite
from cnnbench.spec.kinds import layer_kinds
from cnnbench.spec.layers import AvgPool, BatchNorm, Conv, Linear, MaxPool, Softmax

BACKENDS = [
    pytest.param(("numpy", "reference"), id="numpy"),
    pytest.param(("torch", "eager"), id="torch", marks=pytest.mark.torch),
]


def subject_and_options(backend: tuple[str, str], name: str = "float32") -> tuple[InProcessSubject, ProgramOptions]:
    if backend[0] != "numpy":
        pytest.importorskip(backend[0], reason=f"needs {backend[0]}")
    return InProcessSubject(loaded_backend(backend[0])), ProgramOptions(backend[1], precision(name))


def holds(case: LayerCase, backend: tuple[str, str], name: str = "float32", seed: int = 0) -> None:
    subject, options = subject_and_options(backend, name)
    for outcome in run_checks(["local", "gradient"], subject, case.case(options, seed)):
        if outcome.name == "gradient" and not case.layer.differentiable:
            continue
        assert outcome.status == "passed" or outcome.message == "no node to compare", outcome.message
        assert all(use.sharp_used <= 1 and use.worst_case_used <= 1 for use in outcome.nodes)


def quick_or_slow() -> Iterator[object]:
    """(case, backend): quick are NumPy's first case of each kind; the shared cases hold PyTorch and all others."""
    seen: set[str] = set()
    for name, case in sorted(layer_cases().items()):
        for backend in BACKENDS:
            quick = backend.id == "numpy" and case.layer.kind not in seen
            marks = [*backend.marks] if quick else [*backend.marks, pytest.mark.slow]
            yield pytest.param(name, *backend.values, id=f"{name}-{backend.id}", marks=marks)
        seen.add(case.layer.kind)


@pytest.mark.parametrize(("name", "backend"), list(quick_or_slow()))
def test_correct_float32_stays_inside_both_budgets(name, backend):
    holds(layer_cases()[name], backend)


@pytest.mark.torch
@pytest.mark.parametrize(
    "name",
    [
        "conv/plain",
        "conv/depthwise",
        "linear/plain",
        "batch_norm/plain",
        "tanh/plain",
        "max_pool/overlapping",
        "avg_pool/padding_counts",
        "softmax/channels",
        "add/three",
    ],
)
@pytest.mark.parametrize("policy", ["bfloat16", "float64"])
def test_other_precisions_stay_inside_both_budgets(name, policy):
    holds(layer_cases()[name], ("torch", "eager"), policy)


sizes = st.integers(3, 9)


@st.composite
def layers(draw) -> LayerCase:
    """A layer with a window, or a normalisation, in a random configuration that exists."""
    image = (draw(st.sampled_from([2, 4, 6])), draw(sizes), draw(sizes))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    pads = tuple((draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in kernel)
    kind = draw(st.sampled_from(["conv", "max", "avg", "norm"]))
    batch = draw(st.integers(1, 3))
    shift = draw(st.sampled_from([0.0, 5.0, -50.0]))
    if kind == "conv":
        layer = Conv(
            out_channels=draw(st.sampled_from([2, 4])),
            kernel_size=kernel,
            stride=stride,
            padding=pads,
            dilation=draw(st.integers(1, 2)),
            groups=draw(st.sampled_from([1, 2])),
            bias=draw(st.booleans()),
        )
    elif kind == "max":
        layer = MaxPool(kernel_size=kernel, stride=stride, padding=pads, ceil_mode=draw(st.booleans()))
    elif kind == "avg":
        layer = AvgPool(kernel_size=kernel, stride=stride, padding=pads, count_include_pad=draw(st.booleans()))
    else:
        layer = BatchNorm(eps=draw(st.sampled_from([1e-5, 1e-3])), affine=draw(st.booleans()))
    return LayerCase(layer, (image,), batch, shift)


@pytest.mark.parametrize("backend", BACKENDS)
def test_random_configurations_stay_inside_both_budgets(backend):
    @settings(max_examples=25)
    @given(layers(), st.integers(0, 10**6))
    def hold(case: LayerCase, seed: int) -> None:
        try:
            case.graph()
        except SpecError:
            return  # the window does not fit: no such layer
        holds(case, backend, seed=seed)

    hold()


def setting_of(case: LayerCase, name: str = "float32", *, training: bool = False) -> Setting:
    question = case.case(ProgramOptions("reference", precision(name)))
    visit = next(iter(walk(question, training=training)))
    return Setting(visit.call, visit.values, question.policy, reference())


def test_a_convolutions_magnitude_is_the_naive_sum_of_absolute_products():
    setting = setting_of(
        LayerCase(Conv(out_channels=2, kernel_size=2, stride=2, padding=((1, 0), (0, 1))), ((2, 4, 4),))
    )
    (x,), (w, b) = setting.call.inputs, setting.call.weights
    padded = np.pad(np.abs(x), ((0, 0), (0, 0), (1, 0), (0, 1)))
    naive = np.zeros(setting.values.outputs[0].shape)
    for n, o, i, j in np.ndindex(*naive.shape):
        naive[n, o, i, j] = abs(b[o])
        for c, p, q in np.ndindex(2, 2, 2):
            naive[n, o, i, j] += padded[n, c, 2 * i + p, 2 * j + q] * abs(w[o, c, p, q])
    np.testing.assert_allclose(setting.magnitudes()[0], naive, rtol=1e-13)
    # 8 products and the bias: 2 sqrt(9) u S dominates the sharp budget, 9 u S the worst
    budget = forward_budget(setting).outputs[0]
    u = 2.0**-24
    assert np.all(budget.sharp >= 6 * u * naive)
    assert np.all(
        budget.sharp <= 6.01 * u * naive + 2.01 * u * (np.abs(setting.values.outputs[0]) + np.abs(b[:, None, None]))
    )
    assert np.all(budget.worst >= 9 * u * naive)


def test_naive_sums_in_float32_stay_inside_the_worst_case_in_any_order():
    setting = setting_of(LayerCase(Linear(out_features=3), ((2000,),), shift=1.0))
    (x,), (w, b) = setting.call.inputs, setting.call.weights
    budget = forward_budget(setting).outputs[0]
    for order in (np.arange(2000), np.argsort(-np.abs(x[0])), np.random.default_rng(0).permutation(2000)):
        for n, o in np.ndindex(*setting.values.outputs[0].shape):
            total = np.float32(b[o])
            for k in order:
                total = np.float32(total + np.float32(np.float32(x[n, k]) * np.float32(w[o, k])))
            error = abs(float(total) - setting.values.outputs[0][n, o])
            assert error <= budget.worst[n, o]


def test_batch_norms_gradient_budget_is_passed_by_another_formula_in_float32():
    """Automatic differentiation through mean and variance, written out, in place of the fused formula."""
    case = LayerCase(BatchNorm(), ((3, 6, 6),), 4, shift=20.0)
    setting = setting_of(case, training=True)
    x = setting.call.inputs[0].astype(np.float32)
    weight = setting.call.weights[0].astype(np.float32).reshape(1, -1, 1, 1)
    cotangent = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    axes, n = (0, 2, 3), np.float32(x.size // x.shape[1])
    mean = x.mean(axis=axes, keepdims=True)
    variance = np.square(x - mean).mean(axis=axes, keepdims=True)
    root = 1 / np.sqrt(variance + np.float32(1e-5))
    d_normal = cotangent * weight
    d_variance = (d_normal * (x - mean)).sum(axis=axes, keepdims=True) * np.float32(-0.5) * root**3
    d_mean = -(d_normal * root).sum(axis=axes, keepdims=True)
    got = d_normal * root + d_variance * 2 * (x - mean) / n + d_mean / n
    wide = (cotangent.astype(float),)
    exact = reference().gradient(setting.call, wide)
    question = GradientSetting(setting.call, setting.values, setting.policy, reference(), wide, exact)
    budget = gradient_budget(question).inputs[0]
    assert np.all(np.abs(got - exact.inputs[0]) <= budget.sharp)


@pytest.mark.parametrize("name", ["conv/plain", "linear/plain", "tanh/plain", "softmax/channels", "batch_norm/plain"])
def test_the_measured_fallback_is_of_the_size_of_the_derived_budget(name):
    setting = setting_of(layer_cases()[name])
    derived = np.median(np.broadcast_to(forward_budget(setting).outputs[0].sharp, setting.values.outputs[0].shape))
    measured = np.median(measured_forward(setting).outputs[0].sharp)
    assert derived / 12 < measured < derived * 12


def test_the_measured_fallback_passes_a_float32_implementation():
    for name in ("conv/plain", "log_softmax/row", "sigmoid/plain", "batch_norm/large_mean"):
        setting = setting_of(layer_cases()[name])
        narrow = LayerCall(
            setting.call.layer,
            *(
                tuple(a.astype(np.float32) for a in part)
                for part in (setting.call.inputs, setting.call.weights, setting.call.state)
            ),
        )
        subject = InProcessSubject(load_backend("numpy"))
        graph = layer_cases()[name].graph()
        names = [spec.name for spec in (*graph.named_weights(), *graph.named_state())]
        arrays = dict(zip(names, (*narrow.weights, *narrow.state), strict=True))
        options = ProgramOptions("reference", precision("float32"))
        got = subject.forward(graph, arrays, {"input0": narrow.inputs[0]}, options).outputs["output"]
        budget = measured_forward(setting).outputs[0]
        assert np.all(np.abs(got - setting.values.outputs[0]) <= budget.sharp)
        wide = tuple(np.random.default_rng(0).normal(size=v.shape) for v in setting.values.outputs)
        exact = reference().gradient(setting.call, wide)
        question = GradientSetting(setting.call, setting.values, setting.policy, reference(), wide, exact)
        assert all(np.all(b.sharp > 0) for b in measured_gradient(question).inputs)


@pytest.mark.parametrize("layer", [AvgPool(kernel_size=64), Linear(out_features=3)], ids=["mean", "products"])
def test_the_measured_fallback_admits_a_sum_made_term_by_term(layer):
    """The operands' roundings cancel over 4,096 terms; those of a running sum in float32 do not."""
    positive = lambda generator, shape: generator.uniform(0.5, 1.5, shape)  # noqa: E731
    image = (1, 64, 64) if isinstance(layer, AvgPool) else (4096,)
    setting = setting_of(LayerCase(layer, (image,), draws=(positive,)))
    x = setting.call.inputs[0].astype(np.float32)
    if isinstance(layer, AvgPool):
        terms = x.reshape(len(x), 1, -1) / np.float32(4096)
    else:
        weight, bias = (w.astype(np.float32) for w in setting.call.weights)
        terms = np.concatenate([x[:, None] * weight[None], np.broadcast_to(bias[:, None], (len(x), 3, 1))], axis=2)
    exact = setting.values.outputs[0]
    got = np.cumsum(terms, axis=2, dtype=np.float32)[..., -1].reshape(exact.shape)
    sharp = measured_forward(setting).outputs[0].sharp
    assert (np.abs(got - exact) <= sharp).all()
    assert (np.abs(exact * 4095 / 4096 - exact) > sharp).mean() > 0.5  # one term of 4,096 left out of the mean


def test_every_kind_says_what_its_budget_rests_on():
    forms = {
        kind: budget_form(kind) for kind, layer in layer_kinds().items() if layer.__module__.startswith("cnnbench.spec")
    }
    composites = {kind for kind, layer in layer_kinds().items() if issubclass(layer, Composite)}
    assert {form for kind, form in forms.items() if kind not in composites} <= {"derived", "measured sensitivity"}
    assert {forms[kind] for kind in ("conv", "batch_norm", "max_pool", "softmax", "linear")} == {"derived"}
    assert budget_form("trainable_subsample") == "of its parts"
    assert budget_form("no such kind") == "measured sensitivity"


@pytest.mark.parametrize(
    ("case", "wrong"),
    [
        (LayerCase(Conv(out_channels=8, kernel_size=3), ((64, 5, 5),)), lambda y: y.astype(np.float16).astype(float)),
        (LayerCase(Softmax(), ((5, 3, 3),)), lambda y: y * (1 + 1e-5)),
        (LayerCase(BatchNorm(), ((4, 5, 5),)), lambda y: y * np.sqrt((1 + 1e-5) / (1 + 1e-3))),
    ],
)
def test_wrong_arithmetic_exceeds_ten_budgets(case, wrong):
    setting = setting_of(case)
    exact = setting.values.outputs[0]
    used = np.abs(wrong(exact) - exact) / forward_budget(setting).outputs[0].sharp
    assert used.max() > 10


def test_a_sigmoid_far_below_zero_has_a_budget_of_its_own_size():
    """Where a gate is all but closed, h is as wrong, relative to its size, as the gate's argument is wrong."""
    arithmetic = Arithmetic(Roundoff.of(precision("float32")), gamma)
    x = Tracked(np.array([-44.0, -80.0]), np.array([44.0, 80.0]) * 2**-24)
    y = arithmetic.sigmoid(x)
    np.testing.assert_allclose(y.value, np.exp(x.value), rtol=1e-14)
    assert (y.error >= y.value * x.error).all()
    assert (y.error <= 2 * y.value * x.error + 1e-36).all()
