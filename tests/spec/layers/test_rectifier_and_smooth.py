"""Activations: their values by the published formulas, written here in plain Python, and their fields' errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers.activation import Hardmax
from cnnbench.spec.layers.rectifier import (
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    PReLU,
    ReLU6,
    Shrink,
    ThresholdedReLU,
)
from cnnbench.spec.layers.smooth import CELU, ELU, GELU, SELU, Mish, SiLU, Softplus, Softsign

POINTS = [-40.0, -6.5, -3.0, -1.2, -0.5, -1e-7, 0.0, 1e-7, 0.4, 0.5, 1.0, 2.9, 3.0, 6.0, 7.5, 40.0]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


FORMULAS = {
    "relu6": (ReLU6(), lambda x: min(max(x, 0), 6)),
    "leaky_relu": (LeakyReLU(negative_slope=0.2), lambda x: x if x > 0 else 0.2 * x),
    "thresholded_relu": (ThresholdedReLU(alpha=0.5), lambda x: x if x > 0.5 else 0),
    "hard shrink": (Shrink(), lambda x: x if abs(x) > 0.5 else 0),
    "soft shrink": (Shrink(bias=0.5), lambda x: math.copysign(max(abs(x) - 0.5, 0), x)),
    "hard_sigmoid": (HardSigmoid(), lambda x: min(max(x + 3, 0), 6) / 6),
    "hard_sigmoid of Keras 2": (HardSigmoid(slope=0.2), lambda x: min(max(0.2 * x + 0.5, 0), 1)),
    "hard_swish": (HardSwish(), lambda x: x * min(max(x + 3, 0), 6) / 6),
    "elu": (ELU(alpha=0.7), lambda x: x if x > 0 else 0.7 * math.expm1(x)),
    "celu": (CELU(alpha=0.7), lambda x: x if x > 0 else 0.7 * math.expm1(x / 0.7)),
    "selu": (
        SELU(),
        lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    ),
    "gelu": (GELU(), lambda x: 0.5 * x * math.erfc(-x / math.sqrt(2))),
    "gelu with tanh": (
        GELU(form="tanh"),
        lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    "silu": (SiLU(beta=1.702), lambda x: x * sigmoid(1.702 * x)),
    "softplus": (Softplus(beta=2.0), lambda x: math.log1p(math.exp(2 * x)) / 2),
    "softsign": (Softsign(), lambda x: x / (1 + abs(x))),
    "mish": (Mish(), lambda x: x * math.tanh(math.log1p(math.exp(x)))),
}


def output(layer, x, *weights):
    return reference().forward(LayerCall(layer, (x,), weights)).outputs[0]


@pytest.mark.parametrize("name", FORMULAS)
def test_values_are_those_of_the_formula(name):
    layer, formula = FORMULAS[name]
    expected = [formula(x) for x in POINTS]
    np.testing.assert_allclose(output(layer, np.array([POINTS]))[0], expected, rtol=2e-14, atol=1e-300)


@pytest.mark.parametrize("name", sorted(set(FORMULAS) - {"thresholded_relu", "hard shrink", "soft shrink"}))
def test_nan_stays_nan_but_where_it_is_compared_with_a_threshold(name):
    layer, _ = FORMULAS[name]
    assert np.isnan(output(layer, np.array([[np.nan]]))).all()


def test_the_two_forms_of_gelu_differ_by_what_the_documentation_says():
    x = np.linspace(-6, 6, 20001)[None]
    assert np.abs(output(GELU(), x) - output(GELU(form="tanh"), x)).max() == pytest.approx(4.73e-4, abs=5e-6)


def test_selu_keeps_mean_0_and_variance_1_of_a_standard_normal():
    """The fixed point from which its constants follow, by quadrature."""
    x = np.linspace(-12, 12, 400001)
    density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi) * (x[1] - x[0])
    y = output(SELU(), x[None])[0]
    assert (y * density).sum() == pytest.approx(0, abs=1e-9)
    assert (y * y * density).sum() == pytest.approx(1, abs=1e-9)


def test_pytorch_s_linear_part_of_softplus_would_show_in_float64_only():
    error = float(output(Softplus(), np.array([[20.5]]))[0, 0]) - 20.5
    assert 2**-53 * 20.5 * 1e5 < error < 2**-24 * 20.5


def test_prelu_has_one_slope_or_one_a_channel():
    shape = (2, 3, 4, 5)
    (one,), (each,) = PReLU().weights((shape,)), PReLU(slopes="channel", initial=0.1).weights((shape,))
    assert (one.shape, one.initializer.scale, one.decay) == ((1,), 0.25, False)
    assert (each.shape, each.initializer.scale) == ((3,), 0.1)
    x = -np.ones(shape)
    y = output(PReLU(slopes="channel"), x, np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(y[0, :, 0, 0], [-1, -2, -3])


def test_hardmax_marks_the_first_maximum():
    y = output(Hardmax(axis=1), np.array([[1.0, 3.0, 3.0, 2.0], [0.0, -1.0, 0.0, -5.0]]))
    np.testing.assert_array_equal(y, [[0, 1, 0, 0], [1, 0, 0, 0]])


@pytest.mark.parametrize(
    ("layer", "received", "expected"),
    [
        (PReLU(slopes="all"), "'all'", "'one', 'channel'"),
        (Shrink(threshold=-1.0), "-1.0", "at least 0"),
        (HardSigmoid(slope=0.0), "0.0", "positive"),
        (ELU(alpha=-1.0), "-1.0", "positive"),
        (CELU(alpha=0.0), "0.0", "positive"),
        (Softplus(beta=0.0), "0.0", "positive"),
        (GELU(form="fast"), "'fast'", "'exact', 'tanh'"),
        (Hardmax(axis=7), "7", "-4 to 3"),
    ],
)
def test_an_error_names_the_node_what_was_received_and_what_would_be_right(layer, received, expected):
    builder = Builder("net")
    x = builder.input("image", (3, 4, 5))
    with pytest.raises(SpecError) as caught:
        builder.add("bad", layer, x)
    assert all(part in str(caught.value) for part in ("bad", received, expected)), caught.value
