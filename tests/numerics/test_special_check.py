"""The check of special values: what swallows, moves or makes NaN and infinity is found, what is declared is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.conformance.cases import layer_cases
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.operations import OpResult
from cnnbench.execution.precision import precision
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.faults.grammar.networks import network_case
from cnnbench.numerics.replay import replay
from cnnbench.numerics.special_values import chains, is_free, poisoned
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.registry import build
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Conv, Flatten, GlobalAvgPool, Linear, MaxPool, ReLU, Softmax
from cnnbench.spec.layers.reduction import ArgReduce
from cnnbench.spec.layers.resize import Resize
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import general_position

BACKENDS = [
    ("numpy", "reference"),
    ("numpy", "fast"),
    pytest.param("torch", "eager", marks=pytest.mark.torch),
    pytest.param("jax", "jit", marks=pytest.mark.jax),
    pytest.param("tensorflow", "graph", marks=pytest.mark.tensorflow),
    pytest.param("tensorflow", "xla", marks=[pytest.mark.tensorflow, pytest.mark.slow]),
    pytest.param("torch", "compile", marks=[pytest.mark.torch, pytest.mark.slow]),
]


def options(mode="fast", **fields):
    return ProgramOptions(mode, precision("float32"), **fields)


def case_of(graph, how, batch=2, seed=0, **fields):
    x = {i.name: stream(seed, "x").normal(size=i.full_shape(batch)).astype(np.float32) for i in graph.inputs}
    return Case(graph, general_position(graph, seed), x, how, seed=seed, **fields)


def small(*layers, image=(3, 32, 32)):
    """The layers one after another, named by their kinds."""
    builder = Builder("small")
    x = builder.input("image", image)
    for layer in layers:
        x = builder.add(layer.kind, layer, x)
    return builder.build(x)


def checked(case, subject):
    (outcome,) = run_checks(["special"], subject, case)
    return outcome


def numpy_with(kind, change, gaps=()):
    """NumPy's backend with one op's output changed: (layer, input, output) -> output."""
    backend = load_backend("numpy")
    right = backend.operations[kind]

    def changed(layer, inputs, weights, state, call):
        result = right.forward(layer, inputs, weights, state, call)
        return OpResult((change(layer, inputs[0], result.outputs[0]),), result.state, result.saved)

    backend.operations = backend.operations.replace(kind, replace(right, forward=changed))
    for gap in gaps:
        backend.operations.lacks(**gap)
    return InProcessSubject(backend)


def swallowing(layer, x, y):
    return np.where(np.isnan(x), 0, y)


@pytest.mark.parametrize(("backend", "mode"), BACKENDS)
@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize(
    "graph",
    [
        build("resnet20"),
        build("lenet5"),
        small(ReLU(), GlobalAvgPool()),  # XLA fuses the maximum with the sum
        small(Conv(out_channels=4, kernel_size=3, padding=1), ReLU()),
        small(Conv(out_channels=4, kernel_size=3, padding=1), ReLU(), ArgReduce(function="argmax", axis=1)),
    ],
    ids=lambda graph: "+".join(node.name for node in graph.nodes) if len(graph.nodes) < 4 else graph.name,
)
def test_every_backend_hands_on_special_values_or_declares_where_it_does_not(graph, backend, mode, fold):
    if backend != "numpy":
        pytest.importorskip(backend, reason=f"needs {backend}")
    loaded = loaded_backend(backend)
    outcome = checked(case_of(graph, options(mode, fold_batch_norm=fold)), InProcessSubject(loaded))
    assert outcome.status == "passed", outcome.message
    named = set(outcome.details.get("declared", ()))
    assert named <= {gap.kind for gap in loaded.operations.gaps if gap.special_values}
    assert not named or backend == "tensorflow"
    for kind in named:
        assert kind in outcome.message


SAMPLED = ["roi_align", "grid_sample", "resize", "roi_max_pool", "pyramid_roi_align"]


@pytest.mark.parametrize(("backend", "mode"), BACKENDS[1:5])
@pytest.mark.parametrize("kind", SAMPLED)
def test_backends_that_read_a_pixel_beside_a_sample_with_weight_0_give_no_alarm(kind, backend, mode):
    if backend != "numpy":
        pytest.importorskip(backend, reason=f"needs {backend}")
    how = ProgramOptions(mode, precision("float64"))
    outcome = checked(network_case(f"kind:{kind}", how), InProcessSubject(loaded_backend(backend)))
    assert outcome.status == "passed", outcome.message


FIRST = {name.partition("/")[0]: name for name in reversed(layer_cases())}  # of each kind


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in FIRST.values() else pytest.mark.slow) for n in sorted(layer_cases())]
)
def test_numpys_two_modes_agree_on_every_case_of_every_kind(name):
    outcome = checked(layer_cases()[name].case(options()), InProcessSubject(load_backend("numpy")))
    assert outcome.status == "passed", outcome.message


def test_a_relu_that_swallows_nan_is_located_and_reproduced(tmp_path):
    subject = numpy_with("relu", swallowing)
    outcome = checked(case_of(build("resnet20"), options("reference"), folder=tmp_path), subject)
    assert outcome.status == "failed"
    assert outcome.node == "relu"
    assert "expected nan" in outcome.message
    assert replay(tmp_path / outcome.reproducer, subject).status == "failed"
    assert replay(tmp_path / outcome.reproducer, InProcessSubject(load_backend("numpy"))).status == "passed"


@pytest.mark.parametrize("kind", ["roi_align", "grid_sample", "pyramid_roi_align"])
def test_sampling_that_swallows_nan_is_found(kind):
    """A pyramid's levels are chosen by the size of its regions, and not by its features, so that these are NaN, too."""
    changed = "level_roi_align" if kind == "pyramid_roi_align" else kind
    subject = numpy_with(changed, lambda layer, x, y: np.nan_to_num(y, nan=0.0))
    case = network_case(f"kind:{kind}", options("reference"))
    last = case.graph.inputs[-1]
    if last.shape[-1:] == (4,):  # boxes as drawn may have no area, and then they read nothing
        boxes = np.broadcast_to(np.array([0, 0, 4, 4], np.float32), np.shape(case.batch[last.name]))
        case = replace(case, batch={**case.batch, last.name: boxes})
    outcome = checked(case, subject)
    assert (outcome.status, outcome.details["problem"]) == ("failed", "nan")
    assert outcome.node in ("layer", "layer.pooled"), outcome.message


def test_what_is_wrong_only_behind_another_node_is_said_to_be_wrong_together():
    seen = {}

    class Fusing(InProcessSubject):
        def forward(self, graph, arrays, batch, options):
            result = super().forward(graph, arrays, batch, options)
            by_name = {node.name: node for node in graph.nodes}
            for name, value in graph.outputs:
                node = by_name[value]
                before = by_name.get(node.inputs[0])
                if node.layer.kind == "relu" and before is not None and before.layer.kind == "conv":
                    seen[name] = result.outputs[name] = np.nan_to_num(result.outputs[name], nan=0.0, posinf=np.inf)
            return result

    graph = small(Conv(out_channels=4, kernel_size=3, padding=1), ReLU())
    outcome = checked(case_of(graph, options()), Fusing(load_backend("numpy")))
    assert seen
    assert (outcome.status, outcome.node) == ("failed", "relu")
    assert "only in conv + relu together" in outcome.message


def test_a_declared_kind_is_named_and_its_other_faults_are_still_found():
    graph = small(Conv(out_channels=4, kernel_size=3, padding=1), ReLU(), MaxPool(kernel_size=2))
    case = case_of(graph, options("reference"))
    gap = {"kind": "max_pool", "reason": "drops NaN", "special_values": "always"}
    drops = numpy_with("max_pool", lambda layer, x, y: np.nan_to_num(y, nan=1.0, posinf=np.inf, neginf=-np.inf), [gap])
    outcome = checked(case, drops)
    assert outcome.status == "passed"
    assert outcome.details["declared"] == {"max_pool": "drops NaN"}
    assert "max_pool: drops NaN" in outcome.message
    behind = numpy_with("relu", swallowing, [gap])
    assert checked(case, behind).node == "relu"
    other_mode = {**gap, "modes": ("fast",)}
    undeclared = numpy_with("max_pool", lambda layer, x, y: np.nan_to_num(y, nan=1.0), [other_mode])
    assert checked(case, undeclared).status == "failed"
    fused = {"kind": "relu", "reason": "fused", "special_values": "fused"}
    assert checked(case, numpy_with("relu", swallowing, [fused])).node == "relu"  # alone it is wrong too


@pytest.mark.parametrize("change", [lambda x: x[:1] * 0, lambda x: np.nan_to_num(x[:1], nan=1e-2)])
@pytest.mark.parametrize(("everywhere", "node"), [(True, "image"), (False, "linear")])
def test_a_leak_between_the_images_of_a_batch_is_found(change, everywhere, node):
    class Leaking(InProcessSubject):
        def forward(self, graph, arrays, batch, options):
            result = super().forward(graph, arrays, batch, options)
            if "chains" in graph.name or not (everywhere or "linear" in {n.layer.kind for n in graph.nodes}):
                return result
            poisoned = any(np.isnan(x).any() for x in batch.values())
            return result._replace(outputs={n: y + poisoned * change(y) for n, y in result.outputs.items()})

    graph = small(Conv(out_channels=4, kernel_size=3), ReLU(), Flatten(), Linear(out_features=3))
    outcome = checked(case_of(graph, options(), batch=3), Leaking(load_backend("numpy")))
    assert outcome.status == "failed"
    assert "other images" in outcome.message
    assert outcome.node == node, outcome.message


@pytest.mark.parametrize(
    ("layer", "change"),
    [
        (ReLU(), lambda layer, x, y: np.minimum(y, 127)),
        (Softmax(), lambda layer, x, y: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
        (Softmax(), lambda layer, x, y: np.nan_to_num(y)),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_activations_are_held_on_values_of_every_size(layer, change):
    subject = numpy_with(layer.kind, change)
    assert checked(case_of(small(layer), options("reference")), subject).node == layer.kind


def test_chains_end_at_products_and_are_asked_once_for_their_kinds():
    found = [chain.kinds for chain in chains(build("resnet20"))]
    assert ("conv", "batch_norm", "relu") in found
    assert ("conv", "batch_norm") not in found  # it begins another one
    assert len(found) == len(set(found))


def test_interpolation_may_multiply_nan_by_0():
    assert is_free(Resize(size=(4, 4), mode="linear"))
    assert not is_free(Resize(size=(4, 4), mode="nearest"))
    assert is_free(Conv(out_channels=1, kernel_size=3, dilation=2))


def test_each_part_of_an_operand_holds_its_own_special_values():
    values = poisoned(np.ones((6, 50), np.float32), np.random.default_rng(0), 6)
    assert [int(np.isnan(part).any()) for part in values] == [1, 0, 0, 0, 0, 0]
    assert np.isposinf(values[2]).any()
    assert np.isneginf(values[3]).any()
    assert np.isneginf(values[4]).sum() == 25
    assert (values[1] == 1).all()
    assert 0 < np.abs(values[5][values[5] != 0]).min() < 2.0**-126
