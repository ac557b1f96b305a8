"""Asymmetric configurations of every layer kind, to hold one backend by another: begin is never end, H never W."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.spec import layers as L
from cnnbench.spec.composites import TrainableSubsample
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.weights import initialize, split_state

BATCH = 3
LINE, IMAGE, VOLUME, FEATURES = (6, 11), (6, 10, 13), (6, 5, 8, 7), (9,)
P1, P2, P3 = ((2, 1),), ((0, 2), (1, 0)), ((1, 0), (0, 2), (1, 1))
C3_TABLE = ((0, 1, 2), (1, 4, 5), (0, 5), (2,), (0, 1, 2, 3, 4, 5))


@dataclass(frozen=True)
class OpCase:
    """A layer and the shapes of its inputs without the batch axis."""

    layer: L.Layer
    shapes: tuple[tuple[int, ...], ...]


def _case(layer: L.Layer, *shapes: tuple[int, ...]) -> OpCase:
    return OpCase(layer, shapes)


CONVOLUTIONS = {
    "conv": _case(L.Conv(out_channels=4, kernel_size=(3, 2), stride=(2, 3), padding=P2), IMAGE),
    "conv-symmetric": _case(L.Conv(out_channels=4, kernel_size=3, padding=(1, 2), bias=False), IMAGE),
    "conv-1x1": _case(L.Conv(out_channels=5, kernel_size=1), IMAGE),
    "conv-1x1-stride": _case(L.Conv(out_channels=5, kernel_size=1, stride=(2, 3), bias=False), IMAGE),
    "conv-1x1-padded": _case(L.Conv(out_channels=5, kernel_size=1, padding=P2), IMAGE),
    "conv-1x1-groups": _case(L.Conv(out_channels=4, kernel_size=1, groups=2), IMAGE),
    "conv-same": _case(L.Conv(out_channels=4, kernel_size=(3, 4), stride=2, padding="same"), IMAGE),
    "conv-same-lower": _case(L.Conv(out_channels=4, kernel_size=(4, 2), stride=2, padding="same_lower"), IMAGE),
    "conv-dilated": _case(L.Conv(out_channels=4, kernel_size=(3, 2), dilation=(2, 3), padding=P2), IMAGE),
    "conv-dilated-stride": _case(
        L.Conv(out_channels=4, kernel_size=3, stride=(1, 2), dilation=(1, 2), padding=P2), IMAGE
    ),
    "conv-dilated-same": _case(L.Conv(out_channels=4, kernel_size=3, dilation=2, padding="same"), IMAGE),
    "conv-padded-beyond": _case(
        L.Conv(out_channels=2, kernel_size=(1, 2), padding=((2, 3), (3, 0)), bias=False), IMAGE
    ),
    "conv-groups": _case(
        L.Conv(out_channels=6, kernel_size=(2, 3), stride=(1, 2), groups=3, dilation=(2, 1), padding=P2), IMAGE
    ),
    "conv-depthwise": _case(L.Conv(out_channels=6, kernel_size=3, stride=(2, 1), groups=6, padding=P2), IMAGE),
    "conv-depthwise-square": _case(L.Conv(out_channels=6, kernel_size=3, stride=2, groups=6, padding=1), IMAGE),
    "conv-depthwise-dilated": _case(L.Conv(out_channels=6, kernel_size=3, stride=2, groups=6, dilation=2), IMAGE),
    "conv-depthwise-multiplier": _case(
        L.Conv(out_channels=12, kernel_size=(3, 2), groups=6, dilation=(1, 3), padding=P2, bias=False), IMAGE
    ),
    "conv-depthwise-large": _case(L.Conv(out_channels=6, kernel_size=(7, 6), groups=6, padding="same"), IMAGE),
    "conv-1d": _case(L.Conv(out_channels=4, kernel_size=4, stride=3, padding=P1), LINE),
    "conv-1d-groups": _case(L.Conv(out_channels=4, kernel_size=3, dilation=2, groups=2, padding=P1), LINE),
    "conv-3d": _case(L.Conv(out_channels=4, kernel_size=(2, 3, 1), stride=(1, 2, 3), padding=P3), VOLUME),
    "conv-3d-same": _case(L.Conv(out_channels=4, kernel_size=3, stride=2, padding="same"), VOLUME),
    "conv-3d-dilated": _case(L.Conv(out_channels=4, kernel_size=2, dilation=(2, 1, 3), stride=(1, 2, 1)), VOLUME),
    "conv-3d-groups": _case(
        L.Conv(out_channels=4, kernel_size=2, dilation=(2, 1, 3), groups=2, padding=P3, bias=False), VOLUME
    ),
    "conv-3d-depthwise": _case(L.Conv(out_channels=6, kernel_size=(2, 1, 3), groups=6, padding=P3), VOLUME),
    "partial-conv": _case(L.PartialConv(connections=C3_TABLE, kernel_size=(3, 2), stride=(1, 2), padding=P2), IMAGE),
}
POOLINGS = {
    "max": _case(L.MaxPool(kernel_size=(3, 2), stride=(2, 1), padding=((1, 0), (0, 1))), IMAGE),
    "max-resnet": _case(L.MaxPool(kernel_size=3, stride=2, padding=1), IMAGE),
    "max-large-padding": _case(L.MaxPool(kernel_size=3, stride=2, padding=2), IMAGE),
    "max-large-window": _case(L.MaxPool(kernel_size=(7, 6), stride=(3, 2), padding=((3, 2), (1, 0))), IMAGE),
    "max-dilated": _case(L.MaxPool(kernel_size=(2, 3), stride=(1, 2), dilation=(3, 2), padding=P2), IMAGE),
    "max-ceil": _case(L.MaxPool(kernel_size=3, stride=(2, 3), padding=1, ceil_mode=True), IMAGE),
    "max-ceil-drops": _case(L.MaxPool(kernel_size=2, stride=3, padding=((1, 1), (0, 1)), ceil_mode=True), IMAGE),
    "max-ceil-asymmetric": _case(
        L.MaxPool(kernel_size=3, stride=2, dilation=(1, 2), padding=P2, ceil_mode=True), IMAGE
    ),
    "max-1d": _case(L.MaxPool(kernel_size=3, stride=2, padding=P1), LINE),
    "max-3d": _case(L.MaxPool(kernel_size=(2, 3, 2), stride=(1, 2, 3), padding=P3, ceil_mode=True), VOLUME),
    "avg": _case(L.AvgPool(kernel_size=(3, 2), stride=(2, 1), padding=((1, 0), (0, 1))), IMAGE),
    "avg-same": _case(L.AvgPool(kernel_size=3, stride=1, padding=1, count_include_pad=False), IMAGE),
    "avg-counted": _case(L.AvgPool(kernel_size=3, stride=(2, 1), padding=1), IMAGE),
    "avg-large-padding": _case(L.AvgPool(kernel_size=3, stride=2, padding=2), IMAGE),
    "avg-large-window": _case(L.AvgPool(kernel_size=(5, 6), stride=(3, 2), padding=((3, 2), (1, 0))), IMAGE),
    "avg-ceil": _case(L.AvgPool(kernel_size=3, stride=2, padding=1, ceil_mode=True), IMAGE),
    "avg-ceil-uncounted": _case(
        L.AvgPool(kernel_size=3, stride=(2, 3), padding=P2, ceil_mode=True, count_include_pad=False), IMAGE
    ),
    "avg-ceil-asymmetric": _case(L.AvgPool(kernel_size=3, stride=3, padding=P2, ceil_mode=True), IMAGE),
    "avg-divisor": _case(L.AvgPool(kernel_size=(3, 2), divisor=5, padding=((1, 1), (0, 1))), IMAGE),
    "avg-sum-ceil": _case(L.AvgPool(kernel_size=3, stride=2, divisor=1, ceil_mode=True), IMAGE),
    "avg-1d": _case(L.AvgPool(kernel_size=3, stride=2, padding=P1, ceil_mode=True), LINE),
    "avg-1d-divisor": _case(L.AvgPool(kernel_size=3, stride=2, divisor=2), LINE),
    "avg-3d": _case(L.AvgPool(kernel_size=(2, 3, 2), stride=(1, 2, 3), padding=P3), VOLUME),
    "avg-3d-uncounted": _case(L.AvgPool(kernel_size=(2, 3, 2), padding=P3, count_include_pad=False), VOLUME),
    "global-avg": _case(L.GlobalAvgPool(), IMAGE),
    "global-avg-keep": _case(L.GlobalAvgPool(keep_spatial=True), VOLUME),
    "global-max": _case(L.GlobalMaxPool(), IMAGE),
    "global-max-1d": _case(L.GlobalMaxPool(keep_spatial=True), LINE),
    "global-max-3d": _case(L.GlobalMaxPool(), VOLUME),
    "adaptive": _case(L.AdaptiveAvgPool(output_size=(4, 3)), IMAGE),
    "adaptive-divides": _case(L.AdaptiveAvgPool(output_size=(5, 1)), IMAGE),
    "adaptive-one": _case(L.AdaptiveAvgPool(output_size=1), VOLUME),
    "adaptive-larger": _case(L.AdaptiveAvgPool(output_size=(12, 5)), IMAGE),
    "adaptive-1d": _case(L.AdaptiveAvgPool(output_size=4), LINE),
    "adaptive-3d": _case(L.AdaptiveAvgPool(output_size=(1, 3, 2)), VOLUME),
    "subsample": _case(L.Subsample(stride=(2, 3)), IMAGE),
    "subsample-3d": _case(L.Subsample(stride=(2, 1, 3)), VOLUME),
    "trainable-subsample": _case(TrainableSubsample(kernel_size=(2, 3)), IMAGE),
}
NOISY = {
    "batch-norm": _case(L.BatchNorm(eps=1e-3, momentum=0.3), IMAGE),
    "batch-norm-biased": _case(L.BatchNorm(running_variance="biased", momentum=0.25), IMAGE),
    "batch-norm-plain": _case(L.BatchNorm(affine=False), VOLUME),
    "batch-norm-features": _case(L.BatchNorm(running_variance="biased", affine=False), FEATURES),
    "batch-norm-1d": _case(L.BatchNorm(), LINE),
    "dropout": _case(L.Dropout(p=0.3), IMAGE),
    "dropout-features": _case(L.Dropout(p=0.6), FEATURES),
    "dropout-none": _case(L.Dropout(p=0.0), IMAGE),
}
OTHERS = {
    "channel-affine": _case(L.ChannelAffine(), VOLUME),
    "channel-affine-features": _case(L.ChannelAffine(), FEATURES),
    "relu": _case(L.ReLU(), IMAGE),
    "tanh": _case(L.Tanh(), IMAGE),
    "tanh-scaled": _case(L.Tanh(input_scale=2 / 3, output_scale=1.7159), LINE),
    "sigmoid": _case(L.Sigmoid(), VOLUME),
    "softmax": _case(L.Softmax(), IMAGE),
    "softmax-last": _case(L.Softmax(axis=-1), FEATURES),
    "log-softmax": _case(L.LogSoftmax(axis=2), IMAGE),
    "log-softmax-channels": _case(L.LogSoftmax(axis=-4), VOLUME),
    "linear": _case(L.Linear(out_features=5), FEATURES),
    "linear-leading": _case(L.Linear(out_features=5, bias=False), LINE),
    "radial-basis": _case(L.RadialBasis(out_features=4, trainable=True), FEATURES),
    "radial-basis-logit": _case(L.RadialBasis(out_features=4, output="logit"), FEATURES),
    "flatten": _case(L.Flatten(), IMAGE),
    "flatten-later": _case(L.Flatten(start_axis=2), VOLUME),
    "pad": _case(L.Pad(padding=((0, 3), (1, 2), (0, 1)), value=-0.5), IMAGE),
    "pad-infinite": _case(L.Pad(padding=((0, 0), (1, 2), (0, 1)), value="-inf"), IMAGE),
    "pad-1d": _case(L.Pad(padding=((2, 1), (0, 3))), LINE),
    "add": _case(L.Add(), IMAGE, IMAGE, IMAGE),
    "concat": _case(L.Concat(), IMAGE, (2, 10, 13), IMAGE),
    "concat-rows": _case(L.Concat(axis=2), IMAGE, (6, 3, 13)),
    "concat-features": _case(L.Concat(axis=-1), FEATURES, (4,)),
}
SELECTION = {
    key: case
    for family in (CONVOLUTIONS, POOLINGS, NOISY, OTHERS)
    for key, case in family.items()
    if key
    in {
        "conv",
        "conv-1x1-stride",
        "conv-groups",
        "conv-depthwise",
        "partial-conv",
        "max",
        "max-dilated",
        "avg-ceil",
        "global-max",
        "adaptive",
        "batch-norm",
        "dropout",
        "softmax",
        "linear",
        "flatten",
        "concat",
    }
}
FAMILIES = {"convolution": CONVOLUTIONS, "pooling": POOLINGS, "noisy": NOISY, "others": OTHERS, "selection": SELECTION}


def together(cases: Mapping[str, OpCase]) -> Graph:
    """All cases side by side in one graph, so that a compiler runs once.

    Each layer stands after one that bends its input and before one that bends its output, so that inner gradients
    and changes of layout take part.
    """
    builder = Builder("cases")
    outputs = {}
    for key, case in cases.items():
        values = [builder.input(f"{key}-x{i}", shape) for i, shape in enumerate(case.shapes)]
        before = [builder.add(f"{key}-before{i}", L.Tanh(input_scale=0.7), value) for i, value in enumerate(values)]
        outputs[key] = builder.add(f"{key}-after", L.Tanh(input_scale=0.1), builder.add(key, case.layer, *before))
    return builder.build(outputs)


@dataclass(frozen=True)
class Drawn:
    """Arrays and a batch for a graph: weights and state, inputs, masks and cotangents."""

    arrays: dict[str, Any]
    batch: dict[str, Any]


def draw(graph: Graph, key: str) -> Drawn:
    """Weights and state of which no two are equal, and a batch with masks and cotangents, all in float64."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    arrays = {name: rng.normal(size=array.shape) for name, array in initialize(graph, 0).items()}
    arrays |= {name: np.abs(array) + 0.5 for name, array in arrays.items() if name.endswith("running_var")}
    shapes = graph.shapes(BATCH)
    batch = {item.name: rng.normal(size=shapes[item.name]) for item in graph.inputs}
    batch |= {m.name: (rng.random(m.shape) < m.keep).astype(float) for m in graph.named_masks(BATCH)}
    batch |= {f"gradient.{name}": rng.normal(size=shapes[value]) for name, value in graph.outputs}
    return Drawn(arrays, batch)


def results(backend: Backend, graph: Graph, options: ProgramOptions, drawn: Drawn) -> dict[str, Any]:
    """Everything that a forward and a gradient program return, by a readable name."""
    weights, state = split_state(graph, drawn.arrays)
    forward = backend.compile_forward(graph, options)
    forward.load(weights, state)
    outputs = forward.download(forward.run(forward.upload(drawn.batch)))
    gradient = backend.compile_gradient(graph, options)
    gradient.load(weights, state)
    found = gradient.download(gradient.run(gradient.upload(drawn.batch)))
    named = {f"output {name}": array for name, array in outputs.outputs.items()}
    named |= {f"state {name}": array for name, array in outputs.state.items()}
    named |= {f"state of gradient {name}": array for name, array in found.state.items()}
    return named | {f"gradient of {name}": array for name, array in {**found.weights, **found.inputs}.items()}


def worst(found: Mapping[str, Any], expected: Mapping[str, Any]) -> tuple[float, str]:
    """The largest difference over the largest value of its array, and where it is; shapes and names must agree."""
    assert found.keys() == expected.keys()
    worst_of_all = (0.0, "nothing")
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        scale = max(float(np.abs(array).max(initial=0.0)), 1e-3)
        difference = float(np.abs(found[name].astype(np.float64) - array).max(initial=0.0)) / scale
        assert not np.isnan(difference), name
        worst_of_all = max(worst_of_all, (difference, name))
    return worst_of_all
