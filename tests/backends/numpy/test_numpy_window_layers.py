"""The reference's window layers against naive loops, closed forms and PyTorch's own functions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.spec.layers import Conv
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.layers.pooling import MinPool
from cnnbench.spec.layers.power_pooling import LpPool
from cnnbench.spec.layers.weight_standardization import ScaledWSConv

GENERATOR = np.random.default_rng(5)


def forward(layer, x, *weights):
    return reference().forward(LayerCall(layer.resolve((x.shape,)), (x,), weights)).outputs[0]


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution_lays_kernels_onto_the_output(groups):
    x, weight = GENERATOR.normal(size=(2, 4, 3, 4)), GENERATOR.normal(size=(4, 3, 2, 3))
    bias = GENERATOR.normal(size=3 * groups)
    full = np.zeros((2, 3 * groups, 2 * 2 + 3 * 1 + 1, 3 * 3 + 2 + 1))
    per_group = 4 // groups
    for n, c, i, j in np.ndindex(x.shape):
        for o, a, b in itertools.product(range(3), range(2), range(3)):
            full[n, c // per_group * 3 + o, i * 2 + a * 3, j * 3 + b] += x[n, c, i, j] * weight[c, o, a, b]
    fields = {"stride": (2, 3), "dilation": (3, 1), "groups": groups}
    layer = ConvTranspose(out_channels=3 * groups, kernel_size=(2, 3), padding=((1, 2), (0, 1)), **fields)
    expected = full[:, :, 1:-2, :-1] + bias[:, None, None]
    assert np.allclose(forward(layer, x, weight, bias), expected, rtol=1e-13, atol=1e-13)
    longer = ConvTranspose(out_channels=3 * groups, kernel_size=(2, 3), output_padding=(2, 0), **fields)
    beyond = forward(longer, x, weight, bias)
    assert np.allclose(beyond[:, :, : full.shape[2]], full + bias[:, None, None], rtol=1e-13, atol=1e-13)
    assert (beyond[:, :, full.shape[2] :] == bias[:, None, None]).all()


def test_transposed_convolution_is_the_gradient_of_convolution():
    x, weight = GENERATOR.normal(size=(2, 4, 9, 8)), GENERATOR.normal(size=(6, 2, 3, 2))
    fields = {"kernel_size": (3, 2), "stride": (2, 3), "padding": ((1, 0), (0, 1)), "groups": 2, "bias": False}
    conv = Conv(out_channels=6, **fields).resolve((x.shape,))
    dy = GENERATOR.normal(size=conv.output_shapes((x.shape,))[0])
    dx = reference().gradient(LayerCall(conv, (x,), (weight,)), (dy,)).inputs[0]
    back = ConvTranspose(out_channels=4, **fields)
    short = forward(back, dy, weight)
    extra = tuple(a - b for a, b in zip(x.shape[2:], short.shape[2:], strict=True))
    again = forward(ConvTranspose(out_channels=4, output_padding=extra, **fields), dy, weight)
    assert np.allclose(again, dx, rtol=1e-13, atol=1e-13)


def test_a_flipped_kernel_is_convolution_in_the_mathematical_sense():
    x, weight = GENERATOR.normal(size=11), GENERATOR.normal(size=4)
    layer = Conv(out_channels=1, kernel_size=4, bias=False, flip_kernel=True)
    found = forward(layer, x[None, None], weight[None, None])[0, 0]
    assert np.allclose(found, np.convolve(x, weight, mode="valid"), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    ("form", "denominator"),
    [
        ("scaled", lambda v, count: np.maximum(v * count, 0.5)),
        ("scaled_sum", lambda v, count: (v + 0.5) * count),
        ("standard", lambda v, count: v + 0.5),
    ],
)
def test_standardised_weights_by_their_formula(form, denominator):
    x, weight = GENERATOR.normal(size=(2, 3, 5, 5)), GENERATOR.normal(size=(4, 3, 2, 2))
    bias, gain = GENERATOR.normal(size=4), GENERATOR.normal(size=4)
    made = np.stack(
        [g * (w - w.mean()) / np.sqrt(denominator(w.var(), w.size)) for w, g in zip(weight, gain, strict=True)]
    )
    layer = ScaledWSConv(out_channels=4, kernel_size=2, form=form, eps=0.5)
    expected = forward(Conv(out_channels=4, kernel_size=2), x, made, bias)
    assert np.allclose(forward(layer, x, weight, bias, gain), expected, rtol=1e-13, atol=1e-13)


def test_lp_pooling_of_partial_windows_both_ways():
    x = np.arange(1.0, 6.0)[None, None]
    ours = LpPool(kernel_size=2, stride=2, ceil_mode=True)
    assert np.allclose(forward(ours, x), [[[5**0.5, 5.0, 5.0]]])
    scaled = LpPool(kernel_size=2, stride=2, ceil_mode=True, rescale_partial=True)
    assert np.allclose(forward(scaled, x), [[[5**0.5, 5.0, 50**0.5]]])


def test_plain_odd_powers_of_a_negative_sum_are_nan_and_magnitudes_are_not():
    x = np.array([[[-2.0, 1.0, 3.0, 4.0]]])
    plain = forward(LpPool(kernel_size=2, p=3.0, absolute=False), x)
    assert np.isnan(plain[0, 0, 0])
    assert np.isclose(plain[0, 0, 1], 91 ** (1 / 3))
    assert np.allclose(forward(LpPool(kernel_size=2, p=3.0), x), [[[9 ** (1 / 3), 91 ** (1 / 3)]]])


def test_a_window_of_zeros_gets_no_gradient():
    layer = LpPool(kernel_size=2).resolve(((1, 1, 4),))
    found = reference().gradient(LayerCall(layer, (np.array([[[0.0, 0.0, 3.0, 4.0]]]),)), (np.ones((1, 1, 2)),))
    assert np.allclose(found.inputs[0], [[[0, 0, 0.6, 0.8]]])


@pytest.mark.torch
def test_pooling_equals_pytorchs():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x = np.abs(GENERATOR.normal(size=(2, 3, 9, 8)))
    tensor = torch.tensor(x)
    pairs = [
        (MinPool(kernel_size=3, stride=2, padding=1), -functional.max_pool2d(-tensor, 3, 2, 1)),
        (LpPool(kernel_size=3, stride=2, p=3.0, absolute=False), functional.lp_pool2d(tensor, 3.0, 3, 2)),
        (
            LpPool(kernel_size=3, stride=2, ceil_mode=True, absolute=False, rescale_partial=True),
            functional.lp_pool2d(tensor, 2.0, 3, 2, ceil_mode=True),
        ),
    ]
    for layer, expected in pairs:
        assert np.allclose(forward(layer, x), expected.numpy(), rtol=1e-13), layer
