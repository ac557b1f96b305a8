"""Winograd's convolutions: the declared transforms, NumPy's kernel, and checks that see through their rounding."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from cnnbench_numpy.backend import NumpyBackend
from cnnbench_numpy.fast import winograd as kernels
from cnnbench_numpy.fast.winograd import WinogradKernel

from cnnbench.errors import UnavailableError
from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.execution.winograd import F2, F4, winograd_of
from cnnbench.numerics.budgets.base import Setting, forward_budget
from cnnbench.numerics.cache import Cache
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks.exact import check_exact
from cnnbench.numerics.checks.local import check_local
from cnnbench.numerics.checks.special import check_special
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Conv, ReLU

ADMITTED = ProgramOptions("fast", precision("float32-winograd"))


def rational(matrix):
    return [[Fraction(value).limit_denominator(1000) for value in row] for row in matrix]


@pytest.mark.parametrize("form", [F2, F4], ids=lambda form: form.name)
def test_transforms_give_the_correlation_in_rational_numbers(form):
    """In one dimension y = A^T ((G w) * (B^T x)); the two-dimensional form applies it along both axes."""
    back, of_weight, into = (rational(m) for m in (form.of_output, form.of_weight, form.of_input))
    w = [Fraction(n) for n in (3, -1, 7)]
    x = [Fraction(n) for n in (2, 5, -4, 1, 6, -3)[: form.reach]]
    u = [sum(g * value for g, value in zip(row, w, strict=True)) for row in of_weight]
    v = [sum(b * value for b, value in zip(row, x, strict=True)) for row in into]
    found = [sum(a * p * q for a, p, q in zip(row, u, v, strict=True)) for row in back]
    assert found == [sum(w[k] * x[i + k] for k in range(3)) for i in range(form.tile)]


def network(size, channels, padding=1, outputs=32):
    b = Builder("winograd")
    conv = b.add("conv", Conv(out_channels=outputs, kernel_size=3, padding=padding), b.input("x", (channels, *size)))
    return b.build(b.add("relu", ReLU(), conv))


def material(graph, batch, seed=0):
    generator = np.random.default_rng(seed)
    arrays = {spec.name: generator.normal(size=spec.shape).astype(np.float32) for spec in graph.named_weights()}
    return arrays, {"x": generator.normal(size=(batch, *graph.inputs[0].shape)).astype(np.float32)}


def planned(graph, options, arrays, batch, threads=1):
    backend = NumpyBackend()
    backend.configure(ProcessSettings(threads=threads))
    program = backend.compile_forward(graph, options)
    program.load(arrays, {})
    operands = program.upload(batch)
    return program, operands


def runs_by_winograd(program):
    (plan,) = program._plans.values()
    cells = [cell.cell_contents for step in plan.steps for cell in step.forward.__closure__ or ()]
    return any(isinstance(cell, WinogradKernel) for cell in cells)


@pytest.mark.parametrize("few", [1, 12, 10**6])
@pytest.mark.parametrize(
    ("size", "padding", "form"),
    [
        ((20, 20), 1, F4),
        ((23, 21), ((0, 2), (1, 0)), F4),
        ((21, 36), ((5, 5), (0, 0)), F4),
        ((9, 9), ((3, 3), (4, 4)), F2),
        ((8, 11), 1, F2),
    ],
)
def test_the_kernel_computes_the_convolution(size, padding, form, few, monkeypatch):
    """Whatever the size of its blocks, on two threads, from a second run on and after other weights."""
    monkeypatch.setattr(kernels, "FEW", few)
    graph = network(size, 33, padding)
    arrays, batch = material(graph, 2)
    assert winograd_of(graph.node("conv").layer, (2, 33, *size)) is form
    program, operands = planned(graph, ADMITTED, {name: 2 * a for name, a in arrays.items()}, batch, threads=2)
    program.run(operands)
    assert runs_by_winograd(program)
    program.load(arrays, {})
    found = [program.download(program.run(operands)).outputs["output"] for _ in range(2)]
    plain, same = planned(graph, ProgramOptions("reference", precision("float64")), arrays, batch)
    exact = plain.download(plain.run(same)).outputs["output"]
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0] - exact).max() < 2e-5 * np.abs(exact).max()


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (Conv(out_channels=32, kernel_size=3, stride=2), 30),
        (Conv(out_channels=32, kernel_size=3, dilation=2), 30),
        (Conv(out_channels=32, kernel_size=5), 30),
        (Conv(out_channels=32, kernel_size=3, groups=2), 30),
        (Conv(out_channels=31, kernel_size=3), 30),
        (Conv(out_channels=32, kernel_size=3), 9),
    ],
    ids=["stride", "dilation", "kernel", "groups", "few channels", "small image"],
)
def test_other_convolutions_stay_direct(layer, size):
    shape = (1, 32, size, size)
    assert winograd_of(layer.resolve((shape,)), shape) is None


def test_float32_is_direct_and_the_policy_without_winograd():
    graph = network((20, 20), 32)
    arrays, batch = material(graph, 1)
    direct = replace(ADMITTED, precision=precision("float32"))
    assert ADMITTED.precision.direct == direct.precision == direct.precision.direct
    program, operands = planned(graph, direct, arrays, batch)
    program.run(operands)
    assert not runs_by_winograd(program)
    with pytest.raises(UnavailableError, match="no precision 'float32-winograd'"):
        NumpyBackend().compile_forward(graph, replace(ADMITTED, mode="reference"))


@pytest.mark.parametrize("sign", ["any", "one"])
@pytest.mark.parametrize(("size", "channels"), [((24, 24), 48), ((12, 12), 64)])
def test_the_budget_covers_the_kernel_and_is_near_the_direct_one(size, channels, sign):
    graph = network(size, channels)
    arrays, batch = material(graph, 2)
    if sign == "one":
        arrays, batch = ({name: np.abs(a) for name, a in part.items()} for part in (arrays, batch))
    program, operands = planned(graph.prefix(["conv"]), ADMITTED, arrays, batch)
    found = program.download(program.run(operands)).outputs["conv"]
    weights = tuple(arrays[f"conv.{name}"].astype(float) for name in ("weight", "bias"))
    call = LayerCall(graph.node("conv").layer, (batch["x"].astype(float),), weights)
    values = reference().forward(call)
    budget, direct = (
        forward_budget(Setting(call, values, policy, reference())).outputs[0]
        for policy in (ADMITTED.precision, precision("float32"))
    )
    error = np.abs(found - values.outputs[0])
    assert 0.01 < (error / budget.sharp).max() < 0.5
    assert (budget.sharp <= budget.worst).all()
    assert (budget.sharp >= direct.sharp).all()
    assert np.median(budget.sharp / direct.sharp) < 3


def test_operands_of_tf32_exceed_the_budget():
    """The fault of a convolution that lies nearest to rounding is not hidden by the wider budget."""
    graph = network((20, 20), 64)
    arrays, batch = material(graph, 2)
    weights = tuple(arrays[f"conv.{name}"].astype(float) for name in ("weight", "bias"))
    call = LayerCall(graph.node("conv").layer, (batch["x"].astype(float),), weights)
    values = reference().forward(call)
    budget = forward_budget(Setting(call, values, ADMITTED.precision, reference())).outputs[0]
    mantissa, exponent = np.frexp(call.inputs[0])
    cut = np.ldexp(np.rint(mantissa * 2**11) / 2**11, exponent)
    found = reference().forward(replace(call, inputs=(cut,))).outputs[0]
    assert (np.abs(found - values.outputs[0]) / budget.sharp).max() > 5


def case_of(size=(20, 20)):
    graph = network(size, 32)
    arrays, batch = material(graph, 2)
    return Case(graph, arrays, batch, ADMITTED)


CHECKS = {"local": check_local, "exact": check_exact}


@pytest.mark.parametrize("check", CHECKS)
def test_checks_pass_the_kernel_and_find_one_wrong_number_in_a_transform(check, tmp_path, monkeypatch):
    oracle = Oracle(case_of(), Cache(tmp_path))
    subject = InProcessSubject(NumpyBackend())
    assert CHECKS[check](subject, oracle).status == "passed"
    rows = [list(row) for row in F4.of_output]
    rows[1][3] = 1.99
    wrong = replace(F4, of_output=tuple(map(tuple, rows)))
    monkeypatch.setattr("cnnbench_numpy.fast.plan.winograd_of", lambda layer, x: wrong)
    outcome = CHECKS[check](InProcessSubject(NumpyBackend()), oracle)
    assert (outcome.status, outcome.node) == ("failed", "conv")


def test_a_nan_reaches_its_tile_as_declared(tmp_path):
    outcome = check_special(InProcessSubject(NumpyBackend()), Oracle(case_of(), Cache(tmp_path)))
    assert outcome.status == "passed"
    assert "by Winograd" in outcome.message
