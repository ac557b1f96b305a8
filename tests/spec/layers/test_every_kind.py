"""Every layer kind: what it says of shapes, weights, state, masks and MACs, written out by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import NamedTuple

import pytest

from cnnbench.errors import SpecError
from cnnbench.spec.composites import TrainableSubsample
from cnnbench.spec.kinds import layer_from_fields, layer_kinds
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
    Layer,
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

NONE: Mapping[str, tuple[int, ...]] = MappingProxyType({})


class Case(NamedTuple):
    """A layer on inputs, and what is known of the result."""

    layer: Layer
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    weights: Mapping[str, tuple[int, ...]] = NONE
    macs: int = 0
    state: Mapping[str, tuple[int, ...]] = NONE
    masks: Mapping[str, tuple[int, ...]] = NONE


IMAGE = (2, 6, 9, 10)

CASES = {
    "adaptive_avg_pool": Case(AdaptiveAvgPool(output_size=(7, 1)), (IMAGE,), (2, 6, 7, 1)),
    "add": Case(Add(), (IMAGE, IMAGE, IMAGE), IMAGE),
    "avg_pool": Case(AvgPool(kernel_size=3, stride=2, padding=1), (IMAGE,), (2, 6, 5, 5)),
    "batch_norm": Case(
        BatchNorm(),
        (IMAGE,),
        IMAGE,
        weights={"weight": (6,), "bias": (6,)},
        state={"running_mean": (6,), "running_var": (6,)},
    ),
    "channel_affine": Case(ChannelAffine(), (IMAGE,), IMAGE, weights={"weight": (6,), "bias": (6,)}),
    "concat": Case(Concat(), (IMAGE, (2, 5, 9, 10)), (2, 11, 9, 10)),
    "conv": Case(
        Conv(out_channels=4, kernel_size=(3, 5), stride=(1, 2), padding=((0, 1), (2, 1)), groups=2),
        (IMAGE,),
        (2, 4, 8, 5),  # (9 + 1 - 3) / 1 + 1, floor((10 + 3 - 5) / 2) + 1
        weights={"weight": (4, 3, 3, 5), "bias": (4,)},
        macs=2 * 4 * 8 * 5 * 3 * 3 * 5,
    ),
    "dropout": Case(Dropout(p=0.25), (IMAGE,), IMAGE, masks={"mask": IMAGE}),
    "flatten": Case(Flatten(), (IMAGE,), (2, 540)),
    "global_avg_pool": Case(GlobalAvgPool(), (IMAGE,), (2, 6)),
    "global_max_pool": Case(GlobalMaxPool(keep_spatial=True), (IMAGE,), (2, 6, 1, 1)),
    "linear": Case(
        Linear(out_features=7), ((2, 5, 11),), (2, 5, 7), weights={"weight": (7, 11), "bias": (7,)}, macs=2 * 5 * 7 * 11
    ),
    "log_softmax": Case(LogSoftmax(axis=-1), (IMAGE,), IMAGE),
    "max_pool": Case(MaxPool(kernel_size=2, dilation=2), (IMAGE,), (2, 6, 4, 4)),
    "pad": Case(Pad(padding=((0, 3), (1, 2), (0, 0))), (IMAGE,), (2, 9, 12, 10)),
    "partial_conv": Case(
        PartialConv(connections=((0, 1), (2,), (0, 3, 5)), kernel_size=5),
        (IMAGE,),
        (2, 3, 5, 6),
        weights={"weight": (6, 5, 5), "bias": (3,)},
        macs=2 * 5 * 6 * 6 * 25,  # six connections
    ),
    "radial_basis": Case(RadialBasis(out_features=10), ((2, 84),), (2, 10), weights={"weight": (10, 84)}, macs=1680),
    "relu": Case(ReLU(), (IMAGE,), IMAGE),
    "sigmoid": Case(Sigmoid(), (IMAGE,), IMAGE),
    "softmax": Case(Softmax(), (IMAGE,), IMAGE),
    "subsample": Case(Subsample(stride=2), (IMAGE,), (2, 6, 5, 5)),
    "tanh": Case(Tanh(input_scale=2 / 3, output_scale=1.7159), (IMAGE,), IMAGE),
    "trainable_subsample": Case(
        TrainableSubsample(kernel_size=2),
        (IMAGE,),
        (2, 6, 4, 5),
        weights={"affine.weight": (6,), "affine.bias": (6,)},
    ),
}


CORE = sorted(kind for kind, cls in layer_kinds().items() if cls.__module__.startswith("cnnbench.spec."))


def test_every_case_is_of_a_kind_of_the_core():
    """The table of record is ``cnnbench.conformance.cases``; this one says a choice of kinds by hand."""
    assert set(CASES) <= set(CORE)


@pytest.mark.parametrize("kind", CASES)
def test_shapes_weights_state_masks_and_macs(kind):
    case = CASES[kind]
    layer = case.layer.resolve(case.inputs)
    assert layer.kind == kind
    assert layer.output_shapes(case.inputs) == (case.output,)
    assert {spec.name: spec.shape for spec in layer.weights(case.inputs)} == case.weights
    assert {spec.name: spec.shape for spec in layer.state(case.inputs)} == case.state
    assert {spec.name: spec.shape for spec in layer.masks(case.inputs)} == case.masks
    assert layer.macs(case.inputs, (case.output,)) == case.macs
    assert layer.macs_attention(case.inputs, (case.output,)) == 0


@pytest.mark.parametrize("kind", CASES)
def test_resolving_twice_changes_nothing(kind):
    case = CASES[kind]
    once = case.layer.resolve(case.inputs)
    assert once.resolve(case.inputs) == once


@pytest.mark.parametrize("kind", CASES)
def test_plain_fields_make_an_equal_layer(kind):
    case = CASES[kind]
    for layer in (case.layer, case.layer.resolve(case.inputs)):
        assert layer_from_fields(kind, layer.fields()) == layer


@pytest.mark.parametrize("kind", CORE)
def test_the_family_is_the_file_in_which_the_kind_stands(kind):
    cls = layer_kinds()[kind]
    package = "composites" if cls.is_composite else "layers"
    assert cls.__module__ == f"cnnbench.spec.{package}.{cls.family}"


@pytest.mark.parametrize("kind", CORE)
def test_every_kind_says_what_it_computes(kind):
    text = layer_kinds()[kind].__doc__ or ""
    assert "shapes" in text.lower()


@pytest.mark.parametrize("kind", CORE)
def test_every_field_is_explained(kind):
    cls = layer_kinds()[kind]
    explained = (cls.__doc__ or "").partition("Args:")[2].partition("\n\n")[0]
    assert [field.name for field in fields(cls) if not re.search(rf"\b{field.name}\b", explained)] == []


def test_a_kind_cannot_be_defined_twice():
    with pytest.raises(SpecError, match="'relu' is defined twice"):
        type("Other", (Layer,), {}, kind="relu")


def test_no_field_has_the_name_of_what_is_said_of_a_node():
    """A node in JSON and YAML holds its own name beside the layer's fields."""
    with pytest.raises(SpecError, match=r"'named'.*\n.*received: name"):
        type("Named", (Layer,), {"__annotations__": {"name": "str"}}, kind="named")
    assert "named" not in layer_kinds()
