"""Resizing: coordinates by hand, weights against PyTorch, Pillow and ONNX's own reference, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.spec.composites.resize import Upsample
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers.interpolation import Axis, coordinates, is_dyadic, matrix, taps
from cnnbench.spec.layers.resize import COORDINATES, ROUNDINGS, Resize

SIZES = list(itertools.product((1, 2, 3, 5, 8, 13), (1, 2, 3, 4, 7, 10, 27)))


def axis(size, out, **fields):
    plain = {
        "scale": None,
        "mode": "linear",
        "coordinates": "half_pixel",
        "nearest_rounding": "round_prefer_floor",
        "cubic_coefficient": -0.75,
        "exclude_outside": False,
        "antialias": False,
    }
    return Axis(size=size, out=out, **{**plain, **fields})


def evaluated(layer, x):
    resolved = layer.resolve((x.shape,))
    return reference().forward(LayerCall(resolved, (x,))).outputs[0]


def test_coordinates_by_hand():
    assert coordinates(axis(4, 8)).tolist() == [-0.25, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.25]
    assert coordinates(axis(4, 7, coordinates="align_corners")).tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    assert coordinates(axis(4, 2, coordinates="asymmetric")).tolist() == [0, 2]
    assert coordinates(axis(4, 1)).tolist() == [1.5]
    assert coordinates(axis(4, 1, coordinates="pytorch_half_pixel")).tolist() == [0]
    assert coordinates(axis(4, 1, coordinates="align_corners")).tolist() == [0]
    # 4 pixels at 0.7 are 2.8, of which 2 are kept; the image's middle lies between them
    middle = coordinates(axis(4, 2, scale=0.7, coordinates="half_pixel_symmetric")).mean()
    assert middle == pytest.approx(1.5)


def test_the_rounding_of_what_lies_half_way():
    found = {name: taps(axis(4, 2, mode="nearest", nearest_rounding=name)).indices[:, 0].tolist() for name in ROUNDINGS}
    assert found == {
        "round_prefer_floor": [0, 2],
        "round_prefer_ceil": [1, 3],
        "floor": [0, 2],
        "ceil": [1, 3],
    }


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("excluded", [False, True])
@pytest.mark.parametrize("antialias", [False, True])
def test_weights_sum_to_one_so_that_a_constant_stays(mode, excluded, antialias):
    for (size, out), name in itertools.product(SIZES, COORDINATES):
        how = axis(size, out, mode=mode, coordinates=name, exclude_outside=excluded, antialias=antialias)
        assert np.allclose(matrix(how).sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("name", ["half_pixel", "align_corners", "asymmetric"])
def test_a_straight_line_stays_straight_inside(name):
    for mode in ("linear", "cubic"):
        how = axis(9, 23, mode=mode, coordinates=name, cubic_coefficient=-0.5)
        places = coordinates(how)
        inside = (places >= 1) & (places <= 7)
        assert np.allclose((matrix(how) @ np.arange(9.0))[inside], places[inside])


@pytest.mark.torch
@pytest.mark.parametrize(
    ("named", "fields"),
    [
        ({"mode": "bilinear"}, {}),
        ({"mode": "bilinear", "align_corners": True}, {"coordinates": "align_corners"}),
        ({"mode": "bicubic"}, {"mode": "cubic"}),
        ({"mode": "bicubic", "align_corners": True}, {"mode": "cubic", "coordinates": "align_corners"}),
        ({"mode": "bilinear", "antialias": True}, {"antialias": True, "exclude_outside": True}),
        (
            {"mode": "bicubic", "antialias": True},
            {"mode": "cubic", "cubic_coefficient": -0.5, "antialias": True, "exclude_outside": True},
        ),
    ],
)
def test_weights_are_pytorchs(named, fields):
    torch = pytest.importorskip("torch", reason="needs torch")
    for size, out in SIZES:
        rows = torch.eye(size, dtype=torch.float64)[:, None, None].expand(size, 1, 3, size)
        found = torch.nn.functional.interpolate(rows, size=(3, out), **named)[:, 0, 1].T.numpy()
        assert np.allclose(matrix(axis(size, out, **fields)), found, atol=1e-12), (size, out)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("excluded", [False, True])
@pytest.mark.parametrize("antialias", [False, True])
def test_weights_are_those_of_onnx(mode, excluded, antialias):
    resize = pytest.importorskip("onnx.reference.ops.op_resize", reason="needs onnx")
    kernel = getattr(resize, f"_{mode}_coeffs{'_antialias' if antialias else ''}")
    named = {"A": -0.6} if mode == "cubic" else {}
    fields = {"mode": mode, "cubic_coefficient": -0.6, "exclude_outside": excluded, "antialias": antialias}
    for (size, out), name in itertools.product(SIZES, COORDINATES):
        if name == "pytorch_half_pixel" and out == 1:
            continue  # the reference has -1/2 there where the operator's text has 0
        columns = [
            resize._interpolate_nd(
                row,
                lambda ratio, scale: kernel(ratio, scale, **named),
                output_size=[out],
                coordinate_transformation_mode=name,
                exclude_outside=excluded,
                axes=[0],
            )
            for row in np.eye(size)
        ]
        assert np.allclose(matrix(axis(size, out, coordinates=name, **fields)), np.stack(columns, 1)), (size, out, name)


def test_antialiased_images_are_pillows():
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    x = np.random.default_rng(5).uniform(size=(11, 9)).astype(np.float32)
    for mode, a, method in (("linear", -0.75, "BILINEAR"), ("cubic", -0.5, "BICUBIC")):
        layer = Resize(size=(4, 13), mode=mode, cubic_coefficient=a, antialias=True, exclude_outside=True)
        found = evaluated(layer, x[None, None].astype(np.float64))[0, 0]
        expected = np.asarray(image.fromarray(x).resize((13, 4), getattr(image.Resampling, method)))
        assert np.allclose(found, expected, atol=1e-5)


def test_the_gradient_is_the_transposed_matrix():
    x = np.random.default_rng(5).normal(size=(1, 1, 5, 4))
    g = np.random.default_rng(6).normal(size=(1, 1, 9, 3))
    layer = Resize(size=(9, 3), mode="cubic").resolve((x.shape,))
    rows, columns = map(matrix, layer.axes((5, 4)))
    assert np.allclose(reference().forward(LayerCall(layer, (x,))).outputs[0][0, 0], rows @ x[0, 0] @ columns.T)
    assert np.allclose(reference().gradient(LayerCall(layer, (x,)), (g,)).inputs[0][0, 0], rows.T @ g[0, 0] @ columns)


def test_dyadic_sizes():
    assert [is_dyadic(axis(*pair)) for pair in ((2, 4), (3, 24), (6, 2), (5, 10), (9, 6))] == [
        True,
        True,
        True,
        True,
        True,
    ]
    assert [is_dyadic(axis(*pair)) for pair in ((2, 82), (5, 9), (4, 6), (4, 20))] == [False, False, False, False]


@pytest.mark.torch
@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (Upsample(scale=2.0), {"scale_factor": 2.0, "mode": "nearest"}),
        (Upsample(scale=1.7, mode="nearest-exact"), {"scale_factor": 1.7, "mode": "nearest-exact"}),
        (Upsample(scale=1.7, mode="bilinear"), {"scale_factor": 1.7, "mode": "bilinear"}),
        (
            Upsample(size=(7, 9), mode="bicubic", align_corners=True),
            {"size": (7, 9), "mode": "bicubic", "align_corners": True},
        ),
    ],
)
def test_upsample_is_pytorchs_interpolate(layer, named):
    torch = pytest.importorskip("torch", reason="needs torch")
    x = np.random.default_rng(5).normal(size=(2, 3, 5, 4))
    expected = torch.nn.functional.interpolate(torch.from_numpy(x), **named).numpy()
    assert np.allclose(evaluated(layer, x), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Resize(), "size or scale, or both"),
        (Resize(size=(4, 4, 4)), "an integer or 2 integers"),
        (Resize(scale=-1.0), "2 positive numbers"),
        (Resize(scale=0.1), "an output"),
        (Resize(size=4, antialias=True), "mode linear or cubic"),
        (Resize(size=4, mode="area"), "'nearest', 'linear', 'cubic'"),
        (Upsample(size=4, align_corners=True), "an interpolating mode"),
        (Upsample(size=4, mode="trilinear"), "3 spatial axes"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_added(layer, expected):
    builder = Builder("net")
    image = builder.input("image", (3, 6, 5))
    with pytest.raises(SpecError) as caught:
        builder.add("up", layer, image)
    assert f"net: node 'up' ({layer.kind})" in str(caught.value)
    assert expected in str(caught.value.expected)
