"""Layers that move values: shapes by hand, values against NumPy, PyTorch and naive loops, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.spec.composites.indexing import CenterCropPad, Crop
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Pad
from cnnbench.spec.layers.indexing import Gather, GatherIndices, Roll, Slice, Split
from cnnbench.spec.layers.padding import PAD_MODES
from cnnbench.spec.layers.rearrange import ChannelShuffle, DepthToSpace, SpaceToDepth
from cnnbench.spec.layers.shape import Expand, Reshape, Squeeze, Tile, Transpose, Unsqueeze

IMAGE = (2, 4, 6, 5)


def value(shape=IMAGE):
    return np.random.default_rng(3).normal(size=shape)


def evaluated(layer, *inputs):
    """The reference's outputs of a layer on these arrays."""
    resolved = layer.resolve(tuple(x.shape for x in inputs))
    outputs = reference().forward(LayerCall(resolved, inputs)).outputs
    assert [y.shape for y in outputs] == list(resolved.output_shapes(tuple(x.shape for x in inputs)))
    return outputs[0] if len(outputs) == 1 else outputs


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Reshape(shape=(8, -1)), (2, 8, 15)),
        (Reshape(shape=(-1, 5), whole=True), (48, 5)),
        (Transpose(permutation=(1, 0, -1, 2)), (4, 2, 5, 6)),
        (Tile(repeats=(1, 2, 3)), (2, 4, 12, 15)),
        (Unsqueeze(axes=(1, -1)), (2, 1, 4, 6, 5, 1)),
        (Pad(padding=((0, 0), (1, 2), (0, 3))), (2, 4, 9, 8)),
        (Slice(starts=(3, None), ends=(None, -1), steps=(-2, 2), axes=(1, 2)), (2, 2, 3, 5)),
        (Slice(starts=(5,), ends=(2,)), (2, 0, 6, 5)),
        (Crop(size=(3, 4)), (2, 4, 3, 4)),
        (CenterCropPad(size=(3, 9)), (2, 4, 3, 9)),
        (Gather(indices=(0, 0, -1)), (2, 3, 6, 5)),
        (ChannelShuffle(groups=2), IMAGE),
        (DepthToSpace(block=2, order="CRD"), (2, 1, 12, 10)),
        (SpaceToDepth(block=(3, 1), order="DCR"), (2, 12, 2, 5)),
    ],
    ids=lambda item: getattr(item, "kind", None),
)
def test_shapes(layer, expected):
    assert layer.resolve((IMAGE,)).output_shapes((IMAGE,)) == (expected,)


def test_an_integer_splits_into_equal_parts():
    layer = Split(sizes=3, axis=2).resolve((IMAGE,))
    assert layer.sizes == (2, 2, 2)
    assert layer.output_shapes((IMAGE,)) == ((2, 4, 2, 5),) * 3


def test_expand_repeats_sizes_of_one_and_takes_the_batch_of_a_second_input():
    token = value((1, 1, 5))
    assert np.array_equal(evaluated(Expand(shape=(3, -1)), token), np.repeat(token, 3, axis=1))
    both = evaluated(Expand(shape=(1, 5)), token, value((4, 6, 5)))
    assert both.shape == (4, 1, 5)
    assert (both == token).all()


@pytest.mark.parametrize("mode", PAD_MODES)
def test_padding_copies_what_its_description_says(mode):
    row = np.arange(1.0, 5.0).reshape(1, 1, 4)
    expected = {
        "constant": [9, 9, 1, 2, 3, 4, 9],
        "reflect": [3, 2, 1, 2, 3, 4, 3],
        "symmetric": [2, 1, 1, 2, 3, 4, 4],
        "edge": [1, 1, 1, 2, 3, 4, 4],
        "wrap": [3, 4, 1, 2, 3, 4, 1],
    }[mode]
    layer = Pad(padding=((0, 0), (2, 1)), value=9.0, mode=mode)
    assert evaluated(layer, row).ravel().tolist() == expected


@pytest.mark.parametrize("mode", PAD_MODES[1:])
def test_the_gradient_of_padding_counts_the_copies(mode):
    x = value((1, 1, 4))
    layer = Pad(padding=((0, 0), (2, 1)), mode=mode).resolve((x.shape,))
    found = reference().gradient(LayerCall(layer, (x,)), (np.ones((1, 1, 7)),)).inputs[0]
    counts = {"reflect": [1, 2, 3, 1], "symmetric": [2, 2, 1, 2], "edge": [3, 1, 1, 2], "wrap": [2, 1, 2, 2]}
    assert found.ravel().tolist() == counts[mode]


def test_crops_leave_the_odd_row_after_them():
    x = np.arange(1.0, 6.0).reshape(1, 1, 5)
    assert evaluated(Crop(size=(2,)), x).ravel().tolist() == [2, 3]
    assert evaluated(Crop(size=(2,), offset=(3,)), x).ravel().tolist() == [4, 5]
    assert evaluated(CenterCropPad(size=(8,)), x).ravel().tolist() == [0, 1, 2, 3, 4, 5, 0, 0]


@pytest.mark.parametrize(("axis", "shared"), [(0, 0), (2, 0), (1, 1), (3, 1), (3, 2)])
def test_gathering_by_indices_equals_loops(axis, shared):
    x = value((2, 3, 6, 5))
    generator = np.random.default_rng(1)
    indices = generator.integers(0, x.shape[axis], (*x.shape[:shared], 4, 2))
    found = evaluated(GatherIndices(axis=axis, shared_axes=shared), x, indices)
    for lead in itertools.product(*map(range, x.shape[:axis])):
        for own in itertools.product(range(4), range(2)):
            assert np.array_equal(found[(*lead, *own)], x[(*lead, indices[(*lead[:shared], *own)])])


def test_rolling_moves_values_to_larger_positions():
    assert evaluated(Roll(shifts=(1,), axes=(-1,)), np.arange(4.0).reshape(1, 4)).tolist() == [[3, 0, 1, 2]]


@pytest.mark.parametrize("order", ["DCR", "CRD"])
def test_depth_to_space_equals_loops_and_space_to_depth_undoes_it(order):
    x = value((2, 12, 2, 3))
    found = evaluated(DepthToSpace(block=(2, 3), order=order), x)
    for c, h, w in itertools.product(range(2), range(4), range(9)):
        place = h % 2 * 3 + w % 3
        channel = place * 2 + c if order == "DCR" else c * 6 + place
        assert np.array_equal(found[:, c, h, w], x[:, channel, h // 2, w // 3])
    assert np.array_equal(evaluated(SpaceToDepth(block=(2, 3), order=order), found), x)


@pytest.mark.parametrize("layer", [DepthToSpace(block=(1, 2, 3), order="DCR"), ChannelShuffle(groups=4)])
def test_either_layout_rearranges_alike(layer):
    x = value((2, 12, 2, 3, 4))
    steps = layer.resolve((x.shape,)).rearrangement((2, 2, 3, 4, 12), True)
    found = np.moveaxis(x, 1, -1).reshape(steps.split).transpose(steps.permutation).reshape(steps.joined)
    assert np.array_equal(np.moveaxis(found, -1, 1), evaluated(layer, x))


@pytest.mark.torch
def test_rearranging_equals_pytorch():
    torch = pytest.importorskip("torch", reason="needs torch")
    x = value((2, 12, 4, 6))
    image = torch.from_numpy(x)
    functional = torch.nn.functional
    assert np.array_equal(evaluated(ChannelShuffle(groups=3), x), torch.nn.ChannelShuffle(3)(image).numpy())
    assert np.array_equal(evaluated(DepthToSpace(block=2, order="CRD"), x), functional.pixel_shuffle(image, 2).numpy())
    found = evaluated(SpaceToDepth(block=2, order="CRD"), x)
    assert np.array_equal(found, functional.pixel_unshuffle(image, 2).numpy())


@pytest.mark.parametrize(
    ("layer", "received", "expected"),
    [
        (Reshape(shape=(7, -1)), "(7, -1) for (4, 6, 5)", "product is 120"),
        (Reshape(shape=(-1, -1)), "(-1, -1)", "one of which may be -1"),
        (Transpose(permutation=(0, 1, 1, 2)), "(0, 1, 1, 2)", "each axis from 0 to 3 once"),
        (Expand(shape=(4, 6, 7)), "(4, 6, 7) for (4, 6, 5)", "any size where that is 1"),
        (Tile(repeats=(2, 2)), "(2, 2)", "3 integers"),
        (Squeeze(axes=(1,)), "(1,) of sizes [4]", "axes of size 1"),
        (Unsqueeze(axes=(1, 1)), "(1, 1)", "different axes"),
        (Pad(padding=((0, 0), (6, 0), (0, 0)), mode="reflect"), "(6, 0)", "at most 5"),
        (Pad(padding=((0, 0), (7, 0), (0, 0)), mode="wrap"), "(7, 0)", "at most 6"),
        (Slice(starts=(0,), ends=(3, 4)), "1, 2, 1, 1", "one of each"),
        (Slice(starts=(0,), ends=(3,), steps=(0,)), "(0,)", "other than 0"),
        (Crop(size=(7, 2)), "size (7, 2) at center", "within (6, 5)"),
        (CenterCropPad(size=(0, 2)), "(0, 2)", "2 integers of at least 1"),
        (Split(sizes=(1, 2)), "(1, 2)", "sum 4"),
        (Split(sizes=3), "size 4 into 3", "a divisor of 4"),
        (Gather(indices=(4,)), "(4,)", "-4 to 3"),
        (Roll(shifts=(1,), axes=(2, 3)), "(1,)", "2 integers"),
        (Roll(shifts=(1, 1), axes=(2, -2)), "(2, -2)", "different axes"),
        (ChannelShuffle(groups=3), "3", "a divisor of 4"),
        (DepthToSpace(block=3, order="CRD"), "4 channels, block (3, 3)", "a multiple of 9"),
        (SpaceToDepth(block=2, order="CRD"), "(6, 5)", "multiples of (2, 2)"),
    ],
    ids=lambda item: getattr(item, "kind", None),
)
def test_what_cannot_be_is_refused_where_it_is_added(layer, received, expected):
    builder = Builder("net")
    image = builder.input("image", IMAGE[1:])
    with pytest.raises(SpecError) as caught:
        builder.add("stem", layer, image)
    assert f"net: node 'stem' ({layer.kind})" in str(caught.value)
    assert str(caught.value.received) == received
    assert expected in str(caught.value.expected)


def test_a_fixed_shape_for_a_batch_names_the_remedy():
    layer = Reshape(shape=(4, 30), whole=True)
    with pytest.raises(SpecError, match="say -1 for the axis"):
        layer.output_shapes((IMAGE,))
