"""Graph passes: composites become their parts, batch norms go into convolutions, and nothing else changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from cnnbench.registry import architectures, build
from cnnbench.spec.composites import Composite, TrainableSubsample
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Add, AvgPool, BatchNorm, ChannelAffine, Conv, MaxPool, ReLU
from cnnbench.spec.passes import fold_arrays, fold_batch_norm, foldable_batch_norms, lower
from cnnbench.spec.serialization import graph_from_json
from cnnbench.spec.weights import initialize


def test_a_composite_becomes_its_parts_under_its_name():
    b = Builder("net")
    x = b.add("s2", TrainableSubsample(kernel_size=2), b.input("image", (6, 8, 8)))
    graph = b.build({"logits": b.add("relu", ReLU(), x)})
    low = lower(graph)
    assert [(node.name, type(node.layer), node.inputs) for node in low.nodes] == [
        ("s2.sum", AvgPool, ("image",)),
        ("s2.affine", ChannelAffine, ("s2.sum",)),
        ("relu", ReLU, ("s2.affine",)),
    ]
    assert low.outputs == graph.outputs
    assert low.nodes[0].layer.divisor == 1


def test_an_output_of_a_composite_keeps_its_output_name():
    b = Builder("net")
    x = b.add("s2", TrainableSubsample(kernel_size=2), b.input("image", (6, 8, 8)))
    assert lower(b.build({"pooled": x})).outputs == (("pooled", "s2.affine"),)


def test_a_kind_that_the_backend_has_stays():
    b = Builder("net")
    graph = b.build(b.add("s2", TrainableSubsample(kernel_size=2), b.input("image", (6, 8, 8))))
    assert lower(graph, native={"trainable_subsample"}) is graph


@pytest.mark.parametrize("name", sorted(architectures()))
def test_lowering_changes_no_weight_no_count_and_no_output_shape(name):
    graph = build(name)
    low = lower(graph)
    assert not any(isinstance(node.layer, Composite) for node in low.nodes)
    assert low.named_weights() == graph.named_weights()
    assert low.named_state() == graph.named_state()
    assert low.macs() == graph.macs()
    assert [low.shapes(2)[value] for _, value in low.outputs] == [graph.shapes(2)[value] for _, value in graph.outputs]
    assert graph_from_json(low.to_json()) == low


@dataclass(frozen=True, kw_only=True)
class Branches(Composite, kind="test_branches"):
    """Two outputs, one of them through a composite: parts within parts."""

    def expand(self, builder, *inputs):
        pooled = builder.add("inner", TrainableSubsample(kernel_size=2), inputs[0])
        return builder.add("relu", ReLU(), inputs[0]), pooled


def test_nested_composites_and_several_outputs():
    b = Builder("net")
    wide, narrow = b.add_all("split", Branches(), b.input("image", (2, 4, 4)))
    assert (wide.name, narrow.name) == ("split", "split:1")
    graph = b.build([b.add("end", ReLU(), narrow), wide])
    low = lower(graph)
    assert [node.name for node in low.nodes] == ["split.inner.sum", "split.inner.affine", "split.relu", "end"]
    assert low.node("end").inputs == ("split.inner.affine",)
    assert low.outputs == (("output0", "end"), ("output1", "split.relu"))
    assert low.named_weights() == graph.named_weights()


def foldable(*, bias: bool = False, affine: bool = True) -> Graph:
    b = Builder("net")
    x = b.input("image", (3, 5, 5))
    x = b.add("conv", Conv(out_channels=4, kernel_size=3, stride=2, padding=1, bias=bias), x)
    x = b.add("bn", BatchNorm(eps=1e-3, affine=affine), x)
    return b.build({"logits": b.add("relu", ReLU(), x)})


def test_folding_removes_the_norm_and_gives_the_convolution_a_bias():
    folded = fold_batch_norm(foldable())
    assert [(node.name, node.inputs) for node in folded.nodes] == [("conv", ("image",)), ("relu", ("conv",))]
    assert [spec.name for spec in folded.named_weights()] == ["conv.weight", "conv.bias"]
    assert folded.named_state() == ()


def naive_conv(x, weight, bias, *, stride, padding):
    """The definition, loop by loop."""
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    size = (padded.shape[2] - weight.shape[2]) // stride + 1
    y = np.zeros((x.shape[0], weight.shape[0], size, size))
    for n, o, i, j in np.ndindex(y.shape):
        window = padded[n, :, i * stride : i * stride + 3, j * stride : j * stride + 3]
        y[n, o, i, j] = (window * weight[o]).sum() + bias[o]
    return y


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_folded_arrays_compute_the_same(bias, affine):
    graph = foldable(bias=bias, affine=affine)
    random = np.random.default_rng(0)
    specs = (*graph.named_weights(), *graph.named_state())
    arrays = {spec.name: random.uniform(0.5, 2.0, spec.shape) for spec in specs}
    x = random.normal(size=(2, 3, 5, 5))
    conv_bias = arrays.get("conv.bias", np.zeros(4))
    y = naive_conv(x, arrays["conv.weight"], conv_bias, stride=2, padding=1)

    def channel(name, default):
        return arrays.get(name, np.full(4, default)).reshape(1, 4, 1, 1)

    y = (y - channel("bn.running_mean", 0)) / np.sqrt(channel("bn.running_var", 1) + 1e-3)
    y = y * channel("bn.weight", 1.0) + channel("bn.bias", 0.0)
    folded = fold_arrays(graph, arrays)
    assert {name: array.shape for name, array in folded.items()} == {
        spec.name: spec.shape for spec in fold_batch_norm(graph).named_weights()
    }
    z = naive_conv(x, folded["conv.weight"], folded["conv.bias"], stride=2, padding=1)
    np.testing.assert_allclose(z, y, rtol=0, atol=1e-13)


def test_folded_arrays_are_rounded_once_to_the_convolution_s_dtype():
    graph = foldable()
    arrays = {name: array.astype(np.float32) for name, array in initialize(graph, 0).items()}
    assert {array.dtype for array in fold_arrays(graph, arrays).values()} == {np.dtype(np.float32)}


def test_folding_leaves_the_given_arrays_alone():
    graph = foldable()
    arrays = initialize(graph, 0)
    before = {name: array.copy() for name, array in arrays.items()}
    fold_arrays(graph, arrays)
    assert arrays.keys() == before.keys()
    assert all(np.array_equal(arrays[name], before[name]) for name in before)


def test_a_convolution_that_others_read_or_that_is_an_output_is_not_folded():
    b = Builder("net")
    x = b.add("conv", Conv(out_channels=4, kernel_size=1), b.input("image", (3, 4, 4)))
    y = b.add("bn", BatchNorm(), x)
    shared = b.build(b.add("add", Add(), x, y))
    assert foldable_batch_norms(shared) == {}
    assert fold_batch_norm(shared) == shared
    assert foldable_batch_norms(b.build([y, x])) == {}
    assert foldable_batch_norms(b.build(y)) == {}  # add still reads conv, though no output needs it


def test_a_norm_after_anything_but_a_convolution_stays():
    b = Builder("net")
    x = b.add("pool", MaxPool(kernel_size=2), b.input("image", (3, 4, 4)))
    assert foldable_batch_norms(b.build(b.add("bn", BatchNorm(), x))) == {}


def test_all_of_resnet50_s_norms_fold():
    graph = build("resnet50")
    folded = fold_batch_norm(graph)
    assert len(foldable_batch_norms(graph)) == 53
    assert not any(isinstance(node.layer, BatchNorm) for node in folded.nodes)
    assert folded.macs() == graph.macs()
    assert graph_from_json(folded.to_json()) == folded


def test_norms_that_do_not_follow_their_convolution_at_once_stay():
    graph = build("simple_cnn_norm_last")
    assert fold_batch_norm(graph) == graph
