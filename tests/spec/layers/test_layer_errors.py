"""Layers that cannot be: each error says what was received and what would be right."""

from __future__ import annotations

import pytest

from cnnbench.errors import SpecError
from cnnbench.spec.composites import TrainableSubsample
from cnnbench.spec.graph import Builder
from cnnbench.spec.kinds import layer_from_fields
from cnnbench.spec.layers import (
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    Linear,
    MaxPool,
    Pad,
    PartialConv,
    RadialBasis,
    Softmax,
    Subsample,
)

IMAGE = (1, 6, 8, 8)


@pytest.mark.parametrize(
    ("layer", "received", "expected"),
    [
        (Conv(out_channels=0, kernel_size=3), "0", "an integer of at least 1"),
        (Conv(out_channels=4, kernel_size=3, groups=4), "groups=4, input channels 6", "a divisor of 6"),
        (Conv(out_channels=4, kernel_size=3, groups=3), "groups=3, out_channels 4", "a divisor of 4"),
        (Conv(out_channels=4, kernel_size=(3, 3, 3)), "(3, 3, 3)", "an integer or 2 integers"),
        (Conv(out_channels=4, kernel_size=9), "size 8 with padding (0, 0)", "at least 9 in all"),
        (Conv(out_channels=4, kernel_size=3, dilation=0), "0", "an integer of at least 1"),
        (Conv(out_channels=4, kernel_size=3, bias=3), "3", "true or false"),
        (Conv(out_channels=4.0, kernel_size=3), "4.0", "an integer"),
        (PartialConv(connections=(), kernel_size=3), None, "one tuple of input maps for each output map"),
        (PartialConv(connections=((1, 0),), kernel_size=3), "(1, 0)", "ascending, different input maps from 0 to 5"),
        (PartialConv(connections=((0, 6),), kernel_size=3), "(0, 6)", "ascending, different input maps from 0 to 5"),
        (MaxPool(kernel_size=2, padding=2), "size 8, padding (2, 2), kernel_size 2, dilation 1", "at most 1"),
        (MaxPool(kernel_size=2, dilation=9, padding=9), "size 8, padding (9, 9)", "a dilation that fits"),
        (AvgPool(kernel_size=2, dilation=2), "2", "1"),
        (AvgPool(kernel_size=2, divisor=0), "0", "an integer of at least 1"),
        (AdaptiveAvgPool(output_size=0), "0", "an integer of at least 1"),
        (Subsample(stride=(2, 0)), "0", "an integer of at least 1"),
        (TrainableSubsample(kernel_size=(2, 2, 2)), "(2, 2, 2)", "an integer or 2 integers"),
        (BatchNorm(eps=0.0), "0.0", "a positive number"),
        (BatchNorm(eps=float("inf")), "inf", "a finite number"),
        (BatchNorm(momentum=1.5), "1.5", "a number from 0 to 1"),
        (BatchNorm(running_variance="maybe"), "'maybe'", "'unbiased', 'biased'"),
        (Softmax(axis=4), "4", "-4 to 3"),
        (Flatten(start_axis=-5), "-5", "-4 to 3"),
        (Pad(padding=((0, 0), (1, 1))), "((0, 0), (1, 1))", "3 pairs"),
        (Pad(padding=((0, 0), (1, 1), (0, -1))), "((0, 0), (1, 1), (0, -1))", "at least 0"),
        (Dropout(p=1.0), "1.0", "a probability of at least 0 and below 1"),
        (Linear(out_features=-1), "-1", "an integer of at least 1"),
        (RadialBasis(out_features=10), "(1, 6, 8, 8)", "rank 2"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_an_invalid_layer_is_refused_where_it_is_added(layer, received, expected):
    builder = Builder("net")
    image = builder.input("image", IMAGE[1:])
    with pytest.raises(SpecError) as caught:
        builder.add("stem", layer, image)
    error = caught.value
    assert f"net: node 'stem' ({layer.kind})" in str(error)
    assert received is None or str(error.received).startswith(received)
    assert expected in str(error.expected)


@pytest.mark.parametrize(
    ("layer", "rank"),
    [(Conv(out_channels=1, kernel_size=1), 2), (Conv(out_channels=1, kernel_size=1), 6), (MaxPool(kernel_size=1), 2)],
    ids=["conv-2", "conv-6", "pool-2"],
)
def test_windows_need_one_to_three_spatial_axes(layer, rank):
    with pytest.raises(SpecError, match=f"cannot take an input of rank {rank}"):
        layer.resolve(((1,) * rank,))


def test_add_says_how_to_mend_a_shortcut_of_another_shape():
    builder = Builder("net")
    a, b = builder.input("a", (3, 8, 8)), builder.input("b", (4, 8, 8))
    with pytest.raises(SpecError, match="the inputs differ in shape") as caught:
        builder.add("add", Add(), a, b)
    assert "project the shortcut" in str(caught.value)


def test_concat_needs_equal_shapes_but_for_its_axis():
    with pytest.raises(SpecError, match="differ beyond the joined axis"):
        Concat().resolve(((1, 3, 8, 8), (1, 3, 8, 9)))
    with pytest.raises(SpecError, match="differ beyond the joined axis"):
        Concat().resolve(((1, 3), (1, 3, 1)))


def test_an_unknown_kind_or_field_names_the_nearest():
    with pytest.raises(SpecError, match="unknown layer kind 'rellu'") as caught:
        layer_from_fields("rellu", {})
    assert caught.value.remedy == "did you mean 'relu'?"
    with pytest.raises(SpecError, match="conv has no field 'kernal_size'") as caught:
        layer_from_fields("conv", {"out_channels": 3, "kernal_size": 3})
    assert caught.value.remedy == "did you mean 'kernel_size'?"


def test_a_missing_field_is_named():
    with pytest.raises(SpecError, match="conv lacks out_channels"):
        layer_from_fields("conv", {"kernel_size": 3})


def test_what_is_not_resolved_cannot_say_its_shapes():
    with pytest.raises(SpecError, match="not resolved"):
        Conv(out_channels=3, kernel_size=3).output_shapes((IMAGE,))
    with pytest.raises(SpecError, match="not resolved"):
        Conv(out_channels=3, kernel_size=3).weights((IMAGE,))
    with pytest.raises(SpecError, match="not resolved"):
        MaxPool(kernel_size=3).window()


def test_lists_and_whole_numbers_become_what_the_fields_declare():
    builder = Builder("net")
    image = builder.input("image", (6, 8, 8))
    builder.add("conv", Conv(out_channels=4, kernel_size=[3, 3]), image)
    builder.add("tanh", layer_from_fields("tanh", {"input_scale": 1}), image)
    graph = builder.build(builder.value("conv"))
    assert graph.node("conv").layer.kernel_size == (3, 3)
    assert isinstance(graph.node("tanh").layer.input_scale, float)
