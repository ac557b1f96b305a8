"""Every op of the TensorFlow backend equals the float64 reference, forward and reverse, on asymmetric layers."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec import layers as L
from cnnbench.spec.composites import TrainableSubsample
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.weights import initialize, split_state

pytestmark = pytest.mark.tensorflow

BATCH = 3
P2 = ((1, 0), (0, 2))
Case = tuple[Any, ...]  # a layer and the shapes of its inputs
LINE, IMAGE, VOLUME = (4, 13), (4, 9, 11), (4, 5, 7, 6)

CASES: dict[str, Case] = {
    "conv": (L.Conv(out_channels=6, kernel_size=(3, 2)), IMAGE),
    "conv-1x1": (L.Conv(out_channels=6, kernel_size=1, stride=(2, 1)), IMAGE),
    "conv-asymmetric": (L.Conv(out_channels=6, kernel_size=(3, 4), stride=(2, 3), padding=P2), IMAGE),
    "conv-same": (L.Conv(out_channels=6, kernel_size=(3, 2), stride=2, padding="same"), IMAGE),
    "conv-same-lower": (L.Conv(out_channels=6, kernel_size=(4, 2), stride=2, padding="same_lower"), IMAGE),
    "conv-pad-over-kernel": (L.Conv(out_channels=2, kernel_size=(1, 2), padding=((2, 3), (3, 0)), bias=False), IMAGE),
    "conv-dilated": (L.Conv(out_channels=6, kernel_size=(3, 2), dilation=(2, 3)), IMAGE),
    "conv-dilated-stride": (L.Conv(out_channels=6, kernel_size=3, stride=(1, 2), dilation=(1, 2), padding=P2), IMAGE),
    "conv-dilated-same": (L.Conv(out_channels=5, kernel_size=3, dilation=2, padding="same"), IMAGE),
    "conv-groups": (L.Conv(out_channels=6, kernel_size=(2, 3), groups=2), IMAGE),
    "conv-groups-asymmetric": (L.Conv(out_channels=6, kernel_size=3, stride=(2, 1), groups=2, padding=P2), IMAGE),
    "conv-groups-dilated": (L.Conv(out_channels=6, kernel_size=3, groups=2, dilation=(1, 2), padding=P2), IMAGE),
    "depthwise": (L.Conv(out_channels=4, kernel_size=3, stride=2, groups=4, padding=1), IMAGE),
    "depthwise-multiplier": (L.Conv(out_channels=8, kernel_size=(3, 2), groups=4, padding="same"), IMAGE),
    "depthwise-strides": (L.Conv(out_channels=8, kernel_size=3, stride=(1, 2), groups=4, padding=P2), IMAGE),
    "depthwise-dilated-stride": (L.Conv(out_channels=4, kernel_size=3, stride=2, groups=4, dilation=2), IMAGE),
    "conv1d": (L.Conv(out_channels=6, kernel_size=4, stride=3, padding=((2, 1),)), LINE),
    "conv1d-dilated-groups": (L.Conv(out_channels=6, kernel_size=3, dilation=2, groups=2, padding=((0, 3),)), LINE),
    "conv3d": (
        L.Conv(out_channels=6, kernel_size=(2, 3, 1), stride=(1, 2, 3), padding=((0, 1), (2, 0), (0, 0))),
        VOLUME,
    ),
    "conv3d-same": (L.Conv(out_channels=6, kernel_size=3, stride=2, padding="same"), VOLUME),
    "conv3d-dilated": (L.Conv(out_channels=6, kernel_size=2, dilation=(2, 1, 3), stride=(1, 2, 1)), VOLUME),
    "conv3d-groups": (L.Conv(out_channels=6, kernel_size=2, groups=2, padding=((1, 0), (0, 1), (1, 1))), VOLUME),
    "conv3d-depthwise": (L.Conv(out_channels=4, kernel_size=2, groups=4), VOLUME),
    "partial": (L.PartialConv(connections=((0, 1), (1, 2, 3), (0, 3)), kernel_size=(3, 2), padding=P2), IMAGE),
    "max": (L.MaxPool(kernel_size=(3, 2), stride=(2, 1)), IMAGE),
    "max-asymmetric": (L.MaxPool(kernel_size=3, stride=(2, 3), padding=P2), IMAGE),
    "max-ceil": (L.MaxPool(kernel_size=3, stride=2, padding=((0, 1), (1, 0)), ceil_mode=True), (4, 8, 9)),
    "max-same": (L.MaxPool(kernel_size=3, stride=2, padding="same"), IMAGE),
    "max-dilated": (L.MaxPool(kernel_size=(3, 2), stride=(1, 2), dilation=(2, 3), padding=P2), IMAGE),
    "max-dilated-ceil": (L.MaxPool(kernel_size=2, stride=3, dilation=(2, 3), ceil_mode=True), IMAGE),
    "max1d": (L.MaxPool(kernel_size=3, stride=2, padding=((0, 2),), ceil_mode=True), LINE),
    "max3d": (L.MaxPool(kernel_size=(2, 3, 2), stride=(1, 2, 3), padding=((0, 1), (1, 2), (1, 0))), VOLUME),
    "avg": (L.AvgPool(kernel_size=(3, 2), stride=(2, 1)), IMAGE),
    "avg-padded": (L.AvgPool(kernel_size=3, stride=(2, 3), padding=P2), IMAGE),
    "avg-uncounted": (L.AvgPool(kernel_size=3, stride=(2, 3), padding=P2, count_include_pad=False), IMAGE),
    "avg-same": (L.AvgPool(kernel_size=3, stride=1, padding=1), IMAGE),
    "avg-same-uncounted": (L.AvgPool(kernel_size=3, stride=1, padding=1, count_include_pad=False), IMAGE),
    "avg-ceil": (L.AvgPool(kernel_size=3, stride=2, padding=((0, 1), (1, 0)), ceil_mode=True), (4, 8, 9)),
    "avg-ceil-uncounted": (
        L.AvgPool(kernel_size=3, stride=2, padding=((0, 1), (1, 0)), ceil_mode=True, count_include_pad=False),
        (4, 8, 9),
    ),
    "avg-ceil-unpadded": (L.AvgPool(kernel_size=2, stride=2, ceil_mode=True), IMAGE),
    "avg-divisor": (L.AvgPool(kernel_size=(3, 2), divisor=5, padding=((1, 1), (0, 1))), IMAGE),
    "avg1d": (L.AvgPool(kernel_size=3, stride=2, padding=((0, 2),), ceil_mode=True), LINE),
    "avg3d": (L.AvgPool(kernel_size=(2, 3, 2), stride=(1, 2, 3), padding=((0, 1), (1, 2), (1, 0))), VOLUME),
    "avg3d-uncounted": (L.AvgPool(kernel_size=2, padding=((0, 1), (1, 0), (0, 0)), count_include_pad=False), VOLUME),
    "global-avg": (L.GlobalAvgPool(), IMAGE),
    "global-avg-keep-3d": (L.GlobalAvgPool(keep_spatial=True), VOLUME),
    "global-max": (L.GlobalMaxPool(), IMAGE),
    "global-max-keep-1d": (L.GlobalMaxPool(keep_spatial=True), LINE),
    "adaptive": (L.AdaptiveAvgPool(output_size=(4, 3)), IMAGE),
    "adaptive-one": (L.AdaptiveAvgPool(output_size=1), VOLUME),
    "adaptive-larger": (L.AdaptiveAvgPool(output_size=(12, 11)), IMAGE),
    "subsample": (L.Subsample(stride=(2, 3)), IMAGE),
    "subsample-3d": (L.Subsample(stride=(2, 1, 3)), VOLUME),
    "trainable-subsample": (TrainableSubsample(kernel_size=2), (4, 8, 6)),
    "batch-norm": (L.BatchNorm(eps=1e-3, momentum=0.3), IMAGE),
    "batch-norm-biased-plain": (L.BatchNorm(running_variance="biased", affine=False), IMAGE),
    "batch-norm-features": (L.BatchNorm(), (7,)),
    "batch-norm-1d": (L.BatchNorm(), LINE),
    "batch-norm-3d": (L.BatchNorm(running_variance="biased"), VOLUME),
    "channel-affine": (L.ChannelAffine(), VOLUME),
    "channel-affine-features": (L.ChannelAffine(), (7,)),
    "relu": (L.ReLU(), IMAGE),
    "tanh": (L.Tanh(input_scale=2 / 3, output_scale=1.7159), IMAGE),
    "sigmoid": (L.Sigmoid(), (7,)),
    "softmax": (L.Softmax(), IMAGE),
    "softmax-last": (L.Softmax(axis=-1), (7,)),
    "log-softmax": (L.LogSoftmax(axis=2), IMAGE),
    "linear": (L.Linear(out_features=5), (7,)),
    "linear-leading": (L.Linear(out_features=5, bias=False), (3, 7)),
    "radial-basis": (L.RadialBasis(out_features=5, trainable=True), (7,)),
    "radial-basis-logit": (L.RadialBasis(out_features=5, output="logit"), (7,)),
    "flatten": (L.Flatten(), IMAGE),
    "flatten-later": (L.Flatten(start_axis=2), IMAGE),
    "pad": (L.Pad(padding=((0, 3), (1, 2), (0, 1)), value=-0.5), IMAGE),
    "dropout": (L.Dropout(p=0.3), IMAGE),
    "dropout-features": (L.Dropout(p=0.6), (7,)),
}


JOINED: dict[str, tuple[L.Layer, tuple[tuple[int, ...], ...]]] = {
    "add": (L.Add(), (IMAGE, IMAGE, IMAGE)),
    "concat": (L.Concat(), (IMAGE, (2, 9, 11))),
    "concat-rows": (L.Concat(axis=2), (IMAGE, (4, 3, 11))),
    "concat-features": (L.Concat(axis=-1), ((3,), (4,))),
}


def together(cases: Mapping[str, Case]) -> Graph:
    """All cases side by side in one graph, so that TensorFlow compiles once.

    Each layer has an element-wise one before it, so that inner gradients and layout changes take part.
    """
    builder = Builder("cases")
    outputs = {}
    for key, (layer, *shapes) in cases.items():
        values = [builder.input(f"{key}-x{i}", shape) for i, shape in enumerate(shapes)]
        before = [builder.add(f"{key}-before{i}", L.Tanh(), value) for i, value in enumerate(values)]
        outputs[key] = builder.add(key, layer, *before)
    return builder.build(outputs)


def draw(graph: Graph, key: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights and state with no two equal, and a batch with masks and cotangents."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    arrays = {name: rng.normal(size=array.shape) for name, array in initialize(graph, 0).items()}
    arrays |= {name: np.abs(array) + 0.5 for name, array in arrays.items() if name.endswith("running_var")}
    shapes = graph.shapes(BATCH)
    batch = {item.name: rng.normal(size=shapes[item.name]) for item in graph.inputs}
    batch |= {m.name: (rng.random(m.shape) < m.keep).astype(float) for m in graph.named_masks(BATCH)}
    batch |= {f"gradient.{name}": rng.normal(size=shapes[value]) for name, value in graph.outputs}
    return arrays, batch


def results(backend: Backend, graph: Graph, options: ProgramOptions, case: tuple[Any, Any]) -> Mapping[str, Any]:
    """Everything that a forward and a gradient program return, by a readable name."""
    arrays, batch = case
    weights, state = split_state(graph, arrays)
    forward = backend.compile_forward(graph, options)
    forward.load(weights, state)
    outputs = forward.download(forward.run(forward.upload(batch)))
    gradient = backend.compile_gradient(graph, options)
    gradient.load(weights, state)
    found = gradient.download(gradient.run(gradient.upload(batch)))
    named = {f"output {name}": array for name, array in outputs.outputs.items()}
    named |= {f"state {name}": array for name, array in outputs.state.items()}
    named |= {f"state of gradient {name}": array for name, array in found.state.items()}
    named |= {f"gradient of {name}": array for name, array in {**found.weights, **found.inputs}.items()}
    return named


def assert_equal_results(found: Mapping[str, Any], expected: Mapping[str, Any], *, relative: float, dtype: Any) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        assert found[name].dtype == dtype, name
        limit = relative * max(float(np.abs(array).max(initial=0.0)), 1e-3)
        assert float(np.abs(found[name] - array).max(initial=0.0)) <= limit, name


FAMILIES: dict[str, dict[str, Any]] = {
    "convolution": {key: case for key, case in CASES.items() if isinstance(case[0], L.Conv | L.PartialConv)},
    "pooling": {key: case for key, case in CASES.items() if case[0].family == "pooling"},
    "noisy": {key: case for key, case in CASES.items() if isinstance(case[0], L.BatchNorm | L.Dropout)},
}
FAMILIES["others"] = {
    key: case for key, case in CASES.items() if not any(key in family for family in FAMILIES.values())
} | {key: (layer, *shapes) for key, (layer, shapes) in JOINED.items()}
RUNS = [*((family, family == "noisy") for family in FAMILIES), ("noisy", False)]


# Sums here have at most 60 products, so float64 leaves a few hundred roundings of 1e-16, float32 of 6e-8.
@pytest.mark.parametrize("mode", ["graph", "xla"])
@pytest.mark.parametrize(("name", "relative"), [("float64", 1e-13), ("float32", 2e-5)])
@pytest.mark.parametrize(("family", "training"), RUNS)
def test_ops_equal_the_reference_forward_and_reverse(
    family: str, training: bool, name: str, relative: float, mode: str, tensorflow_backend: Backend, oracle: Backend
) -> None:
    graph = together(FAMILIES[family])
    case = draw(graph, family)
    reference = ProgramOptions("reference", precision("float64"), training=training)
    expected = results(oracle, graph, reference, case)
    found = results(tensorflow_backend, graph, replace(reference, mode=mode, precision=precision(name)), case)
    assert_equal_results(found, expected, relative=relative, dtype=np.dtype(name))
