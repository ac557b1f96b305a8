"""Each op of the reference mode computes what naive loops over indices compute."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from cnnbench_numpy.backend import NumpyBackend
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from cnnbench.errors import DataError, NumericalError, SpecError
from cnnbench.spec.composites import TrainableSubsample
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

TIGHT = {"rtol": 1e-12, "atol": 1e-12}


def positions(shape):
    return itertools.product(*map(range, shape))


def at(x, n, c, place):
    """x[n, c, place], None outside."""
    if all(0 <= p < size for p, size in zip(place, x.shape[2:], strict=True)):
        return x[(n, c, *place)]
    return None


def place_of(layer, p, k):
    return tuple(
        i * s + j * d - begin
        for i, s, j, d, (begin, _) in zip(p, layer.stride, k, layer.dilation, layer.padding, strict=True)
    )


def naive_conv(layer, x, w, b, out):
    y = np.zeros(out)
    per_group_in, per_group_out = x.shape[1] // layer.groups, out[1] // layer.groups
    for n, o, *p in positions(out):
        total = b[o] if b is not None else 0.0
        for c in range(per_group_in):
            for k in positions(layer.kernel_size):
                value = at(x, n, o // per_group_out * per_group_in + c, place_of(layer, p, k))
                if value is not None:
                    total += w[(o, c, *k)] * value
        y[(n, o, *p)] = total
    return y


def make_if_valid(make_case, layer, x):
    """The case, unless the spec refuses a window that sees padding only."""
    try:
        return make_case(layer, x)
    except SpecError as error:
        if "see no input" not in str(error):
            raise
        reject()


@st.composite
def windows(draw, dilated=True):
    """Number of axes, spatial sizes, and per-axis kernel, stride, dilation and asymmetric padding that fit."""
    axes = draw(st.integers(1, 3))
    sizes, kernel, stride, dilation, padding = [], [], [], [], []
    for _ in range(axes):
        k, s = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        d = draw(st.integers(1, 2)) if dilated else 1
        reach = d * (k - 1)
        pads = (draw(st.integers(0, reach)), draw(st.integers(0, reach)))
        sizes.append(draw(st.integers(max(1, reach + 1 - sum(pads)), max(1, reach + 1 - sum(pads)) + 4 - axes)))
        kernel.append(k)
        stride.append(s)
        dilation.append(d)
        padding.append(pads)
    fields = {"kernel_size": kernel, "stride": stride, "dilation": dilation, "padding": padding}
    return tuple(sizes), {name: tuple(values) for name, values in fields.items()}


@settings(max_examples=60, deadline=None)
@given(windows(), st.sampled_from([1, 2, 3]), st.integers(1, 2), st.integers(1, 2), st.booleans(), st.integers(0, 99))
def test_conv_is_its_definition(make_case, window, groups, wide_in, wide_out, bias, seed):
    spatial, fields = window
    x = np.random.default_rng(seed).normal(size=(2, groups * wide_in, *spatial))
    case = make_case(Conv(out_channels=groups * wide_out, groups=groups, bias=bias, **fields), x)
    y = case.output()
    weight, b = case.arrays["node.weight"], case.arrays.get("node.bias")
    layer = case.graph.node("node").layer
    np.testing.assert_allclose(y, naive_conv(layer, x, weight, b, case.graph.shapes()["node"]), **TIGHT)


def test_a_kernel_is_not_flipped(make_case):
    x = np.arange(5.0).reshape(1, 1, 5)
    case = make_case(
        Conv(out_channels=1, kernel_size=2, bias=False), x, arrays={"node.weight": np.array([[[1.0, 10.0]]])}
    )
    assert case.output().tolist() == [[[10.0, 21.0, 32.0, 43.0]]]


def test_partial_conv_sums_only_its_connections(make_case):
    connections = ((0, 2), (1,), (0, 1, 2))
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 6))
    case = make_case(PartialConv(connections=connections, kernel_size=(2, 3), stride=(1, 2), padding=1), x)
    weight, bias = case.arrays["node.weight"], case.arrays["node.bias"]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    expected = np.zeros(case.graph.shapes()["node"])
    for n, o, i, j in positions(expected.shape):
        first = sum(len(row) for row in connections[:o])
        expected[n, o, i, j] = bias[o] + sum(
            weight[first + number, a, b] * padded[n, c, i + a, 2 * j + b]
            for number, c in enumerate(connections[o])
            for a in range(2)
            for b in range(3)
        )
    np.testing.assert_allclose(case.output(), expected, **TIGHT)


@settings(max_examples=60, deadline=None)
@given(windows(), st.booleans(), st.integers(0, 99))
def test_max_pool_is_the_largest_of_its_window(make_case, window, ceil_mode, seed):
    spatial, fields = window
    x = np.random.default_rng(seed).normal(size=(1, 2, *spatial)) - 3  # negative, so that padding must not win
    case = make_if_valid(make_case, MaxPool(ceil_mode=ceil_mode, **fields), x)
    layer, out = case.graph.node("node").layer, case.graph.shapes()["node"]
    seen = {
        (n, c, *p): [v for k in positions(layer.kernel_size) if (v := at(x, n, c, place_of(layer, p, k))) is not None]
        for n, c, *p in positions(out)
    }
    expected = np.array([max(values) for values in seen.values()]).reshape(out)
    np.testing.assert_array_equal(case.output(), expected)


@settings(max_examples=60, deadline=None)
@given(windows(dilated=False), st.booleans(), st.booleans(), st.sampled_from([None, 1, 5]), st.integers(0, 99))
def test_avg_pool_divides_by_what_it_counts(make_case, window, ceil_mode, count_include_pad, divisor, seed):
    spatial, fields = window
    x = np.random.default_rng(seed).normal(size=(1, 2, *spatial))
    layer = AvgPool(ceil_mode=ceil_mode, count_include_pad=count_include_pad, divisor=divisor, **fields)
    case = make_if_valid(make_case, layer, x)
    layer, out = case.graph.node("node").layer, case.graph.shapes()["node"]
    y = case.output()
    for n, c, *p in positions(out):
        places = [place_of(layer, p, k) for k in positions(layer.kernel_size)]
        inside = [v for q in places if (v := at(x, n, c, q)) is not None]
        padded = [
            q
            for q in places
            if all(-b <= i < size + e for i, size, (b, e) in zip(q, spatial, layer.padding, strict=True))
        ]
        count = divisor or (len(padded) if count_include_pad else len(inside))
        assert y[(n, c, *p)] == pytest.approx(sum(inside) / count, rel=1e-12, abs=1e-12)


def test_max_pool_keeps_nan_and_ceil_mode_reaches_the_rest(make_case):
    x = np.array([[[1.0, 2.0, np.nan, 0.0, 5.0]]])
    assert make_case(MaxPool(kernel_size=2), x).output().shape == (1, 1, 2)
    y = make_case(MaxPool(kernel_size=2, ceil_mode=True), x).output()
    np.testing.assert_array_equal(y, [[[2.0, np.nan, 5.0]]])


@pytest.mark.parametrize("keep", [False, True])
def test_global_pools(make_case, keep):
    x = np.random.default_rng(1).normal(size=(2, 3, 4, 5))
    shape = (2, 3, 1, 1) if keep else (2, 3)
    mean = [[sum(x[n, c].ravel()) / 20 for c in range(3)] for n in range(2)]
    largest = [[max(x[n, c].ravel()) for c in range(3)] for n in range(2)]
    np.testing.assert_allclose(
        make_case(GlobalAvgPool(keep_spatial=keep), x).output(), np.reshape(mean, shape), **TIGHT
    )
    np.testing.assert_array_equal(make_case(GlobalMaxPool(keep_spatial=keep), x).output(), np.reshape(largest, shape))


@pytest.mark.parametrize(("size", "out"), [(5, 3), (7, 7), (4, 1), (3, 5)])
def test_adaptive_avg_pool_averages_floor_to_ceil(make_case, size, out):
    x = np.random.default_rng(1).normal(size=(2, 3, size))
    expected = np.empty((2, 3, out))
    for n, c, i in positions(expected.shape):
        begin, end = math.floor(i * size / out), math.ceil((i + 1) * size / out)
        expected[n, c, i] = sum(x[n, c, begin:end]) / (end - begin)
    np.testing.assert_allclose(make_case(AdaptiveAvgPool(output_size=out), x).output(), expected, **TIGHT)


def test_subsample_keeps_every_stride_th(make_case):
    x = np.arange(35.0).reshape(1, 1, 5, 7)
    y = make_case(Subsample(stride=(2, 3)), x).output()
    assert y.tolist() == [[[[0, 3, 6], [14, 17, 20], [28, 31, 34]]]]


def test_trainable_subsample_sums_scales_and_shifts(make_case):
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    case = make_case(
        TrainableSubsample(), x, arrays={"node.affine.weight": np.array([0.5]), "node.affine.bias": np.array([1.0])}
    )
    assert case.output().tolist() == [[[[6.0, 10.0], [22.0, 26.0]]]]


def test_linear_over_leading_axes(make_case):
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    case = make_case(Linear(out_features=5), x)
    w, b = case.arrays["node.weight"], case.arrays["node.bias"]
    expected = [[[sum(w[o] * x[n, i]) + b[o] for o in range(5)] for i in range(3)] for n in range(2)]
    np.testing.assert_allclose(case.output(), expected, **TIGHT)


@pytest.mark.parametrize(("output", "sign"), [("distance", 1), ("logit", -1)])
def test_radial_basis_is_a_squared_distance(make_case, output, sign):
    x = np.random.default_rng(0).normal(size=(2, 6))
    case = make_case(RadialBasis(out_features=3, output=output), x)
    w = case.arrays["node.weight"]
    expected = [[sign * sum((x[n, i] - w[o, i]) ** 2 for i in range(6)) for o in range(3)] for n in range(2)]
    np.testing.assert_allclose(case.output(), expected, **TIGHT)


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 2), (4, 3, 2, 2)])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_at_inference_uses_the_running_statistics(make_case, shape, affine):
    x = np.random.default_rng(0).normal(size=shape)
    case = make_case(BatchNorm(eps=1e-3, affine=affine), x)
    a = case.arrays
    expected = np.empty(shape)
    for index in positions(shape):
        c = index[1]
        normal = (x[index] - a["node.running_mean"][c]) / math.sqrt(a["node.running_var"][c] + 1e-3)
        expected[index] = normal * a["node.weight"][c] + a["node.bias"][c] if affine else normal
    result = case.forward()
    np.testing.assert_allclose(result.outputs["output0"], expected, **TIGHT)
    np.testing.assert_array_equal(result.state["node.running_mean"], a["node.running_mean"])


@pytest.mark.parametrize(("convention", "divisor"), [("unbiased", 11), ("biased", 12)])
def test_batch_norm_in_training_normalises_by_the_biased_variance(make_case, convention, divisor):
    x = np.random.default_rng(0).normal(2.0, 3.0, size=(3, 2, 4))
    case = make_case(BatchNorm(momentum=0.3, running_variance=convention, affine=False), x, training=True)
    result = case.forward()
    for c in range(2):
        values = x[:, c].ravel()
        mean = sum(values) / 12
        squares = sum((values - mean) ** 2)
        np.testing.assert_allclose(
            result.outputs["output0"][:, c], (x[:, c] - mean) / math.sqrt(squares / 12 + 1e-5), **TIGHT
        )
        old_mean, old_var = case.arrays["node.running_mean"][c], case.arrays["node.running_var"][c]
        assert result.state["node.running_mean"][c] == pytest.approx(0.7 * old_mean + 0.3 * mean)
        assert result.state["node.running_var"][c] == pytest.approx(0.7 * old_var + 0.3 * squares / divisor)


def test_batch_norm_cannot_train_on_one_value(make_case):
    with pytest.raises(NumericalError, match="one value a channel"):
        make_case(BatchNorm(), np.ones((1, 2, 1)), training=True).forward()


def test_elementwise_functions(make_case):
    x = np.array([[-800.0, -1.5, 0.0, 0.25, 800.0, np.nan]])
    np.testing.assert_array_equal(make_case(ReLU(), x).output(), [[0.0, 0.0, 0.0, 0.25, 800.0, np.nan]])
    sigmoid = [0.0, 1 / (1 + math.exp(1.5)), 0.5, 1 / (1 + math.exp(-0.25)), 1.0, math.nan]
    np.testing.assert_allclose(make_case(Sigmoid(), x).output()[0], sigmoid, **TIGHT)
    tanh = [1.7159 * math.tanh(2 / 3 * v) for v in x[0]]
    np.testing.assert_allclose(make_case(Tanh(input_scale=2 / 3, output_scale=1.7159), x).output()[0], tanh, **TIGHT)


@pytest.mark.parametrize("axis", [1, -1, 2])
def test_softmax_along_an_axis(make_case, axis):
    x = np.random.default_rng(0).normal(size=(2, 3, 4)) * 100
    moved = np.moveaxis(x, axis, -1)
    expected = np.empty_like(moved)
    for n, i in positions(moved.shape[:2]):
        top = max(moved[n, i])
        total = sum(math.exp(v - top) for v in moved[n, i])
        expected[n, i] = [math.exp(v - top) / total for v in moved[n, i]]
    expected = np.moveaxis(expected, -1, axis)
    np.testing.assert_allclose(make_case(Softmax(axis=axis), x).output(), expected, rtol=1e-12, atol=0)
    log = make_case(LogSoftmax(axis=axis), x).output()
    np.testing.assert_allclose(np.exp(log), expected, rtol=1e-11, atol=1e-300)
    assert np.isfinite(log).all()


def test_flatten_pad_add_concat(make_case):
    x = np.arange(12.0).reshape(1, 2, 2, 3)
    assert make_case(Flatten(), x).output().tolist() == [list(range(12))]
    assert make_case(Flatten(start_axis=2), x).output().shape == (1, 2, 6)
    padded = make_case(Pad(padding=((0, 1), (1, 0), (0, 2)), value=-1.0), x).output()
    assert padded.shape == (1, 3, 3, 5)
    np.testing.assert_array_equal(padded[:, :2, 1:, :3], x)
    assert padded.sum() == x.sum() - (padded.size - x.size)
    np.testing.assert_array_equal(make_case(Add(), x, 2 * x, x).output(), 4 * x)
    joined = make_case(Concat(axis=-1), x, 2 * x).output()
    assert joined.shape == (1, 2, 2, 6)
    np.testing.assert_array_equal(joined[..., 3:], 2 * x)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_dropout_scales_what_it_keeps(make_case, layout):
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    mask = (np.random.default_rng(1).random(x.shape) < 0.75).astype(float)
    case = make_case(Dropout(p=0.25), x, masks={"node.mask": mask}, layout=layout)
    np.testing.assert_array_equal(case.output(), x)
    np.testing.assert_allclose(case.under(training=True).output(), x * mask / 0.75, **TIGHT)


def test_channel_affine(make_case):
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    case = make_case(ChannelAffine(), x)
    w, b = case.arrays["node.weight"], case.arrays["node.bias"]
    expected = np.stack([x[:, c] * w[c] + b[c] for c in range(3)], axis=1)
    np.testing.assert_allclose(case.output(), expected, **TIGHT)


def test_what_is_missing_is_named(make_case):
    case = make_case(Linear(out_features=2), np.ones((1, 3)))
    program = NumpyBackend().compile_forward(case.graph, case.options)
    with pytest.raises(DataError, match="'x0' is missing"):
        program.upload({"X0": case.inputs[0]})
    with pytest.raises(DataError, match=r"'node\.bias' is missing"):
        program.load({"node.weight": case.arrays["node.weight"]}, {})
