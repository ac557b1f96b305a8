"""Fixed filters: kernels by hand, values against SciPy, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.spec.composites.filters import BlurPool, Downsample, FixedFilter, GaussianBlur, gaussian_row
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers.filters import ConstantFilter


def value(shape=(2, 3, 8, 7)):
    return np.random.default_rng(3).normal(size=shape)


def evaluated(layer, x):
    resolved = layer.resolve((x.shape,))
    y = reference().forward(LayerCall(resolved, (x,))).outputs[0]
    assert (y.shape,) == resolved.output_shapes((x.shape,))
    return y


def test_a_step_shows_which_edge_each_filter_finds():
    step = np.repeat([[0.0, 0.0, 1.0, 1.0]], 4, axis=0)[None, None]

    def middle(name, x):
        return evaluated(FixedFilter(filter=name, padding="valid"), x)[0, 0, 0].tolist()

    assert middle("finite_difference", step) == [0, -1, 0]
    assert middle("finite_difference_y", step) == [0, 0, 0, 0]
    assert middle("vertical_edge", step) == [-3, -3]
    assert middle("horizontal_edge", step) == [0, 0]
    assert middle("sobel_x", step) == [4, 4]
    assert middle("sobel_y", step) == [0, 0]
    assert middle("sobel_y", step.swapaxes(2, 3)) == [4, 4]
    assert middle("sharpen", step) == [-1, 2]


def test_identity_changes_nothing():
    for size in (1, 2, 3, 4):
        assert np.array_equal(evaluated(FixedFilter(filter="identity", size=size), value()), value())


@pytest.mark.parametrize(
    ("mode", "named"), [("constant", "constant"), ("edge", "nearest"), ("reflect", "mirror"), ("wrap", "wrap")]
)
def test_filters_are_scipys_correlation(mode, named):
    ndimage = pytest.importorskip("scipy.ndimage", reason="needs SciPy")
    kernel = np.array([[-2.0, -1, 0], [-1, 1, 1], [0, 1, 2]])
    found = evaluated(FixedFilter(filter="emboss", padding_mode=mode), value())
    assert np.allclose(found, ndimage.correlate(value(), kernel[None, None], mode=named))


def test_gaussian_blur_is_scipys():
    ndimage = pytest.importorskip("scipy.ndimage", reason="needs SciPy")
    expected = ndimage.gaussian_filter(value(), (0, 0, 1.3, 1.3), mode="mirror", radius=(0, 0, 2, 2))
    assert np.allclose(evaluated(GaussianBlur(size=5, sigma=1.3), value()), expected)
    whole = FixedFilter(filter="gaussian_blur", size=5, sigma=1.3, padding_mode="reflect")
    assert np.allclose(evaluated(whole, value()), expected)


def test_gaussian_rows_sum_to_one_and_opencvs_width_is_the_default():
    assert sum(gaussian_row(7, None)) == pytest.approx(1)
    assert gaussian_row(7, None) == gaussian_row(7, 1.4)
    assert gaussian_row(1, None) == (1.0,)


def test_blur_pool_equals_loops():
    x = value((1, 1, 7, 6))
    found = evaluated(BlurPool(filter_size=4), x)
    row = np.array([1, 3, 3, 1]) / 8
    padded = np.pad(x[0, 0], ((1, 2), (1, 2)), mode="reflect")
    assert found.shape == (1, 1, 4, 3)
    for i in range(4):
        for j in range(3):
            window = padded[2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
            assert found[0, 0, i, j] == pytest.approx(row @ window @ row)


def test_downsampling():
    x = value((1, 1, 8, 6))
    assert np.array_equal(evaluated(Downsample(method="decimate"), x), x[:, :, ::2, ::2])
    assert np.allclose(evaluated(Downsample(method="average"), x), x.reshape(1, 1, 4, 2, 3, 2).mean((3, 5)))
    assert np.allclose(evaluated(Downsample(), x), evaluated(BlurPool(), x))


def test_counts():
    layer = ConstantFilter(weights_row_major=(1.0,) * 6, kernel_size=(2, 3), stride=2).resolve(((2, 3, 8, 7),))
    outputs = layer.output_shapes(((2, 3, 8, 7),))
    assert outputs == ((2, 3, 4, 3),)
    assert layer.macs(((2, 3, 8, 7),), outputs) == 2 * 3 * 4 * 3 * 6
    assert layer.window().kernel_size == (2, 3)
    assert layer.weights(((2, 3, 8, 7),)) == ()


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (ConstantFilter(weights_row_major=(1.0,), kernel_size=(2, 2)), "4 numbers"),
        (FixedFilter(filter="laplace"), "'identity'"),
        (FixedFilter(filter="box_blur", size=0), "an integer of at least 1"),
        (FixedFilter(filter="gaussian_blur", sigma=0.0), "a positive number"),
        (FixedFilter(filter="box_blur", size=14, padding_mode="reflect"), "at most 5"),
        (BlurPool(filter_size=0), "an integer of at least 1"),
        (BlurPool(stride=0), "an integer of at least 1"),
        (Downsample(method="median"), "'decimate', 'average', 'blur'"),
        (GaussianBlur(sigma=-1.0), "a positive number"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_added(layer, expected):
    builder = Builder("net")
    image = builder.input("image", (3, 6, 6))
    with pytest.raises(SpecError) as caught:
        builder.add("filter", layer, image)
    assert f"net: node 'filter' ({layer.kind})" in str(caught.value)
    assert expected in str(caught.value.expected)


def test_an_edge_filter_of_a_row_is_refused():
    builder = Builder("net")
    with pytest.raises(SpecError, match="sobel_x is a filter of images"):
        builder.add("filter", FixedFilter(filter="sobel_x"), builder.input("row", (3, 6)))
