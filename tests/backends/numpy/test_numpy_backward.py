"""Every backward op agrees with central differences of its forward op in float64."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.spec.kinds import layer_kinds
from cnnbench.spec.layers import (
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    ChannelAffine,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    Linear,
    LogSoftmax,
    MaxPool,
    Pad,
    PartialConv,
    RadialBasis,
    ReLU,
    Sigmoid,
    Softmax,
    Subsample,
    Tanh,
)

CASES = {
    "conv-1d": (Conv(out_channels=4, kernel_size=3, stride=2, padding=((2, 1),), dilation=2, groups=2), [(2, 4, 9)]),
    "conv-2d": (
        Conv(out_channels=3, kernel_size=(3, 2), stride=(2, 1), padding=((1, 0), (0, 1)), dilation=(1, 2)),
        [(2, 2, 6, 5)],
    ),
    "conv-2d-1x1": (Conv(out_channels=3, kernel_size=1, stride=2, bias=False), [(2, 4, 5, 4)]),
    "conv-2d-depthwise": (Conv(out_channels=6, kernel_size=3, padding=1, groups=3), [(2, 3, 4, 5)]),
    "conv-2d-each-channel": (
        Conv(out_channels=3, kernel_size=(2, 3), padding=((1, 0), (1, 1)), dilation=(2, 1), groups=3),
        [(2, 3, 4, 5)],
    ),
    "conv-3d-each-channel": (Conv(out_channels=2, kernel_size=2, stride=(1, 2, 1), groups=2), [(1, 2, 3, 4, 2)]),
    "conv-2d-pointwise": (Conv(out_channels=3, kernel_size=1), [(3, 4, 2, 3)]),
    "conv-2d-unused-rows": (Conv(out_channels=2, kernel_size=2, stride=3), [(1, 2, 7, 6)]),
    "conv-3d": (Conv(out_channels=2, kernel_size=2, padding=((0, 1), (1, 0), (1, 1)), bias=False), [(1, 2, 3, 2, 3)]),
    "partial_conv": (PartialConv(connections=((0, 2), (1,)), kernel_size=2, padding=1), [(2, 3, 3, 4)]),
    "max_pool": (MaxPool(kernel_size=3, stride=2, padding=1, ceil_mode=True), [(2, 2, 6, 5)]),
    "max_pool-dilated": (MaxPool(kernel_size=2, stride=1, dilation=(2, 1), padding=((1, 0), (0, 1))), [(1, 2, 4, 3)]),
    "max_pool-3d": (MaxPool(kernel_size=2, stride=1), [(1, 1, 3, 3, 3)]),
    "avg_pool": (AvgPool(kernel_size=3, stride=2, padding=((1, 0), (1, 1)), ceil_mode=True), [(2, 2, 6, 5)]),
    "avg_pool-inside": (AvgPool(kernel_size=2, stride=1, padding=1, count_include_pad=False), [(2, 1, 4)]),
    "avg_pool-sum": (AvgPool(kernel_size=2, divisor=1), [(1, 2, 5, 4)]),
    "global_avg_pool": (GlobalAvgPool(), [(2, 3, 3, 2)]),
    "global_avg_pool-kept": (GlobalAvgPool(keep_spatial=True), [(2, 3, 3)]),
    "global_max_pool": (GlobalMaxPool(), [(2, 3, 3, 2)]),
    "adaptive_avg_pool": (AdaptiveAvgPool(output_size=(3, 2)), [(2, 2, 5, 3)]),
    "subsample": (Subsample(stride=(2, 3)), [(2, 2, 5, 4)]),
    "linear": (Linear(out_features=3), [(2, 4)]),
    "linear-leading": (Linear(out_features=3, bias=False), [(2, 2, 4)]),
    "radial_basis": (RadialBasis(out_features=3, trainable=True), [(2, 4)]),
    "radial_basis-logit": (RadialBasis(out_features=3, output="logit", trainable=True), [(2, 4)]),
    "batch_norm": (BatchNorm(), [(2, 3, 4, 2)]),
    "batch_norm-plain": (BatchNorm(affine=False, eps=0.1), [(4, 3)]),
    "channel_affine": (ChannelAffine(), [(2, 3, 4)]),
    "relu": (ReLU(), [(2, 3, 4)]),
    "tanh": (Tanh(input_scale=2 / 3, output_scale=1.7159), [(2, 3, 4)]),
    "sigmoid": (Sigmoid(), [(2, 3, 4)]),
    "softmax": (Softmax(), [(2, 3, 4)]),
    "softmax-last": (Softmax(axis=-1), [(2, 3, 4)]),
    "log_softmax": (LogSoftmax(), [(2, 5)]),
    "flatten": (Flatten(), [(2, 3, 2, 2)]),
    "pad": (Pad(padding=((1, 0), (0, 2), (1, 1)), value=2.0), [(2, 2, 3, 2)]),
    "add": (Add(), [(2, 3, 2), (2, 3, 2), (2, 3, 2)]),
    "concat": (Concat(), [(2, 3, 2), (2, 1, 2), (2, 2, 2)]),
    "concat-batch": (Concat(axis=0), [(2, 3, 2), (1, 3, 2)]),
    "dropout": (Dropout(p=0.25), [(2, 3, 4)]),
}
STEP = 1e-5


def spaced(shape, generator):
    """Distinct values further apart than the step of the difference, so that no maximum or sign changes."""
    size = int(np.prod(shape))
    values = (generator.permutation(size) - size / 2 + 0.3) * (4.0 / size)
    return values.reshape(shape)


def difference(value_of, array):
    """The gradient of a scalar function of ``array`` by central differences, element by element."""
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + STEP
        above = value_of()
        array[index] = kept - STEP
        gradient[index] = (above - value_of()) / (2 * STEP)
        array[index] = kept
    return gradient


def relative_error(found, expected):
    return np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-3)


def test_every_case_is_of_a_differentiable_primitive_kind():
    """Every other kind is held by central differences in ``tests/conformance``."""
    kinds = {kind for kind, cls in layer_kinds().items() if cls.differentiable and not hasattr(cls, "expand")}
    assert {layer.kind for layer, _ in CASES.values()} <= kinds


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("name", CASES)
def test_backward_is_the_derivative_of_forward(make_case, name, training):
    layer, shapes = CASES[name]
    generator = np.random.default_rng(7)
    case = make_case(layer, *(spaced(shape, generator) for shape in shapes), training=training)
    cotangent = generator.normal(size=case.output().shape)
    found = case.gradient(cotangent)

    def value():
        return float((case.output() * cotangent).sum())

    for i, x in enumerate(case.inputs):
        assert relative_error(found.inputs[f"x{i}"], difference(value, x)) < 1e-6
    assert set(found.weights) == {spec.name for spec in case.graph.named_weights()}
    for weight, gradient in found.weights.items():
        assert relative_error(gradient, difference(value, case.arrays[weight])) < 1e-6


VARIANTS = [("reference", "channels_last"), ("fast", "channels_first"), ("fast", "channels_last")]


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize(("mode", "layout"), VARIANTS)
@pytest.mark.parametrize("name", CASES)
def test_every_mode_and_layout_agrees_with_the_reference(make_case, name, mode, layout, training):
    layer, shapes = CASES[name]
    generator = np.random.default_rng(7)
    plain = make_case(layer, *(spaced(shape, generator) for shape in shapes), training=training)
    other = plain.under(mode=mode, layout=layout)
    result, expected_result = other.forward(), plain.forward()
    cotangent = generator.normal(size=expected_result.outputs["output0"].shape)
    found, expected = other.gradient(cotangent), plain.gradient(cotangent)
    for one, reference in (
        (result.outputs, expected_result.outputs),
        (result.state, expected_result.state),
        (found.inputs, expected.inputs),
        (found.weights, expected.weights),
        (found.state, expected.state),
    ):
        assert one.keys() == reference.keys()
        for key in one:
            assert one[key].shape == reference[key].shape
            np.testing.assert_allclose(one[key], reference[key], rtol=1e-10, atol=1e-12)


def test_a_fixed_weight_has_no_gradient(make_case):
    case = make_case(RadialBasis(out_features=3), np.ones((2, 4)))
    assert case.gradient(np.ones((2, 3))).weights == {}


@pytest.mark.parametrize("mode", ["reference", "fast"])
def test_max_pool_ties_and_nan_take_the_first(make_case, mode):
    x = np.array([[[[1.0, 1.0, 0.0], [1.0, 1.0, np.nan], [-np.inf, -np.inf, np.nan]]]])
    case = make_case(MaxPool(kernel_size=2, stride=(1, 2), padding=((0, 0), (0, 1))), x, mode=mode)
    np.testing.assert_array_equal(case.output(), [[[[1.0, np.nan], [1.0, np.nan]]]])
    gradient = case.gradient(np.array([[[[1.0, 10.0], [100.0, 1000.0]]]]))
    np.testing.assert_array_equal(gradient.inputs["x0"], [[[[1.0, 0, 0], [100.0, 0, 1010.0], [0, 0, 0]]]])


def test_max_pool_of_minus_infinity_gives_its_gradient_to_a_real_position(make_case):
    x = np.full((1, 1, 3), -np.inf)
    case = make_case(MaxPool(kernel_size=2, stride=2, padding=1), x)
    gradient = case.gradient(np.array([[[1.0, 10.0]]]))
    assert gradient.inputs["x0"].tolist() == [[[1.0, 10.0, 0.0]]]


def test_relu_has_no_gradient_at_zero(make_case):
    case = make_case(ReLU(), np.array([[-1.0, 0.0, 1.0]]))
    assert case.gradient(np.ones((1, 3))).inputs["x0"].tolist() == [[0.0, 0.0, 1.0]]
