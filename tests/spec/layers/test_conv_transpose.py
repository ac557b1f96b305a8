"""Transposed, flipped, separable and weight-standardised convolution: shapes, counts and refusals by hand."""

from __future__ import annotations

import pytest

from cnnbench.errors import SpecError
from cnnbench.spec.composites.conv import DepthwiseSeparableConv
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Conv
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.layers.weight_standardization import ScaledWSConv

IMAGE = (2, 6, 5, 7)


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({"kernel_size": 3}, (7, 9)),
        ({"kernel_size": 3, "stride": 2}, (11, 15)),
        ({"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}, (10, 14)),
        ({"kernel_size": 3, "stride": (2, 1), "padding": ((0, 1), (2, 0))}, (10, 7)),
        ({"kernel_size": 2, "dilation": 3}, (8, 10)),
        ({"kernel_size": 3, "stride": 2, "padding": "same"}, (10, 14)),
        ({"kernel_size": 2, "stride": 3, "padding": "same"}, (15, 21)),
        ({"kernel_size": 4, "stride": 3, "padding": "same_lower"}, (15, 21)),
    ],
    ids=str,
)
def test_the_output_is_what_is_left_of_the_full_one(fields, output):
    layer = ConvTranspose(out_channels=4, **fields).resolve((IMAGE,))
    assert layer.output_shapes((IMAGE,)) == ((2, 4, *output),)


def test_same_crops_the_odd_row_at_the_end_and_same_lower_at_the_beginning():
    same = ConvTranspose(out_channels=4, kernel_size=4, stride=1, padding="same").resolve((IMAGE,))
    lower = ConvTranspose(out_channels=4, kernel_size=4, stride=1, padding="same_lower").resolve((IMAGE,))
    assert same.padding == ((1, 2), (1, 2))
    assert lower.padding == ((2, 1), (2, 1))


def test_weights_are_in_by_out_and_macs_are_input_positions_times_kernel():
    layer = ConvTranspose(out_channels=4, kernel_size=(2, 3), groups=2, stride=2).resolve((IMAGE,))
    assert [spec.shape for spec in layer.weights((IMAGE,))] == [(6, 2, 2, 3), (4,)]
    assert layer.macs((IMAGE,), layer.output_shapes((IMAGE,))) == 2 * 5 * 7 * 6 * 2 * 2 * 3


def test_one_output_sees_the_inputs_whose_kernels_reach_it():
    layer = ConvTranspose(out_channels=4, kernel_size=(4, 3), stride=(2, 3)).resolve((IMAGE,))
    assert layer.window().kernel_size == (2, 1)


@pytest.mark.parametrize(
    ("layer", "received", "expected"),
    [
        (ConvTranspose(out_channels=4, kernel_size=3, padding=5), "padding (5, 5) of 8", "at least 1"),
        (
            ConvTranspose(out_channels=4, kernel_size=1, padding=((6, 0), (0, 0)), output_padding=2),
            "padding (6, 0) of 6",
            "some of it from the input",
        ),
        (ConvTranspose(out_channels=4, kernel_size=3, padding="same", output_padding=1), "output_padding=(1, 1)", "0"),
        (ConvTranspose(out_channels=4, kernel_size=3, output_padding=-1), "-1", "at least 0"),
        (ConvTranspose(out_channels=4, kernel_size=3, groups=3), "groups=3, out_channels 4", "a divisor of 4"),
        (ConvTranspose(out_channels=4, kernel_size=(3, 3, 3)), "(3, 3, 3)", "2 integers"),
        (ScaledWSConv(out_channels=4, kernel_size=3, form="other"), "'other'", "'scaled_sum'"),
        (ScaledWSConv(out_channels=4, kernel_size=3, eps=0.0), "0.0", "a positive number"),
        (DepthwiseSeparableConv(out_channels=4, kernel_size=3, multiplier=0), "0", "at least 1"),
        (DepthwiseSeparableConv(out_channels=4, kernel_size=9), "size 6", "at least 9"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_an_invalid_layer_is_refused_where_it_is_added(layer, received, expected):
    builder = Builder("net")
    image = builder.input("image", (6, 6, 6))
    with pytest.raises(SpecError) as caught:
        builder.add("stem", layer, image)
    assert f"net: node 'stem' ({layer.kind})" in str(caught.value)
    assert received in str(caught.value.received)
    assert expected in str(caught.value.expected)


def test_a_separable_convolution_counts_both_of_its_parts():
    layer = DepthwiseSeparableConv(out_channels=5, kernel_size=3, multiplier=2, padding=1).resolve((IMAGE,))
    assert layer.output_shapes((IMAGE,)) == ((2, 5, 5, 7),)
    shapes = {spec.name: spec.shape for spec in layer.weights((IMAGE,))}
    assert shapes == {"depthwise.weight": (12, 1, 3, 3), "pointwise.weight": (5, 12, 1, 1), "pointwise.bias": (5,)}
    assert layer.macs((IMAGE,), layer.output_shapes((IMAGE,))) == 2 * 35 * (12 * 9 + 5 * 12)


def test_a_standardised_convolution_has_a_gain_for_each_output_channel():
    layer = ScaledWSConv(out_channels=4, kernel_size=3, groups=2).resolve((IMAGE,))
    assert {spec.name: spec.shape for spec in layer.weights((IMAGE,))} == {
        "weight": (4, 3, 3, 3),
        "bias": (4,),
        "gain": (4,),
    }
    assert not isinstance(layer, Conv)  # a batch norm must not fold into a weight that is standardised after
