"""The whole program on integers: right ones are equal bit for bit, and a single wrong value is found and located."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loaded_backends import loaded_backend
from wrong_programs import FOLDED, Plain, Wrong, WrongElement, case_of, wrong_weight

from cnnbench.errors import UnavailableError
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.checks.exact_program import check_program
from cnnbench.numerics.integer_network import DRAWS, integer_network
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.replay import replay
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import (
    GELU,
    Add,
    BatchNorm,
    Concat,
    Conv,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    LayerNorm,
    Linear,
    ReLU,
    ReLU6,
    SiLU,
)
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.resize import Resize
from cnnbench.spec.weights import general_position


def small() -> Graph:
    """Residual, depthwise, concatenated; pooled by 36, which is no power of two."""
    build = Builder("small")
    x = build.input("x", (3, 12, 12))
    x = build.add("stem", Conv(out_channels=8, kernel_size=3, padding=1, bias=False), x)
    skip = x = build.add("relu", ReLU(), build.add("norm", BatchNorm(), x))
    x = build.add("conv1", Conv(out_channels=8, kernel_size=3, padding=1, bias=False), x)
    x = build.add("act1", SiLU(), build.add("bn1", BatchNorm(), x))
    x = build.add("conv2", Conv(out_channels=8, kernel_size=3, padding=1, bias=False), x)
    x = build.add("sum", Add(), build.add("bn2", BatchNorm(), x), skip)
    x = build.add("expand", Conv(out_channels=16, kernel_size=1, bias=False), x)
    x = build.add("act2", ReLU6(), build.add("bn3", BatchNorm(eps=1e-3), x))
    x = build.add("depth", Conv(out_channels=16, kernel_size=3, padding=1, stride=2, groups=16, bias=False), x)
    x = build.add("act3", ReLU6(), build.add("bn4", BatchNorm(), x))
    left = build.add("left", Conv(out_channels=8, kernel_size=1), x)
    right = build.add("right", Conv(out_channels=8, kernel_size=3, padding=1), x)
    x = build.add("act4", GELU(), build.add("both", Concat(), left, right))
    x = build.add("flat", Flatten(), build.add("pool", GlobalAvgPool(), x))
    return build.build(build.add("fc", Linear(out_features=10), x))


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize(("backend", "mode"), [("numpy", "reference"), ("numpy", "fast"), ("torch", "eager")])
def test_a_right_program_is_equal_bit_for_bit(backend, mode, fold):
    if backend != "numpy":
        pytest.importorskip(backend)
    options = replace(FOLDED, mode=mode, fold_batch_norm=fold)
    for seed in range(3):
        outcome = check_program(
            InProcessSubject(loaded_backend(backend)), Oracle.of(case_of(small(), options, seed=seed))
        )
        assert outcome.status == "passed", outcome.message
        assert outcome.details == {"cut": [], "program": True}


@pytest.mark.parametrize("name", ["float32", "float64", "bfloat16", "float16"])
def test_a_right_program_passes_in_every_precision(name):
    pytest.importorskip("torch")
    options = ProgramOptions("eager", precision(name), fold_batch_norm=True)
    outcome = check_program(InProcessSubject(loaded_backend("torch")), Oracle.of(case_of(small(), options)))
    assert outcome.status in ("passed", "skipped"), outcome.message


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("eps", [1e-5, 1e-3])
def test_norms_divide_by_powers_of_two_with_the_variance_that_the_precision_stores(name, eps):
    """Unless they are left out. A variance of 0.25 - 1e-5 is 0.25 in float16, and its norms were off by 2e-5."""
    builder = Builder("norms")
    x = builder.add("conv", Conv(out_channels=6, kernel_size=3, bias=False), builder.input("image", (2, 7, 7)))
    graph = builder.build(builder.add("relu", ReLU(), builder.add("norm", BatchNorm(eps=eps), x)))
    for seed in range(3):
        network = integer_network(case_of(graph, ProgramOptions("eager", precision(name)), seed=seed), "dense")
        variance = network.arrays.get("norm.running_var")
        assert (variance is None) == (network.cut == ("norm",)) == (name == "float16" and eps == 1e-3)
        if variance is not None:
            deviation = np.sqrt(np.float32(variance) + np.float32(eps))
            assert np.array_equal(np.log2(deviation) % 1, np.zeros(6))


def test_no_weight_of_the_dense_network_is_zero():
    network = integer_network(case_of(small()), "dense")
    assert not {n for n, array in network.arrays.items() if n.endswith(".weight") and (array == 0).any()}


def test_every_single_weight_matters():
    """One weight, bias or statistic at a time is 1 % off: the dense network shows each of them."""
    case = case_of(small())
    network = integer_network(case, "dense")
    subject = InProcessSubject(loaded_backend("numpy"))
    draw = np.random.default_rng(0)
    ((output, exact),) = network.exact.items()
    missed = []
    for name, array in sorted(network.arrays.items()):
        for flat in draw.choice(array.size, min(array.size, 6), replace=False):
            changed = np.array(array)
            changed.reshape(-1)[flat] *= np.float32(1.01)
            outputs = subject.forward(
                case.graph, {**network.arrays, name: changed}, network.batch, case.options
            ).outputs
            gap = np.abs(outputs[output] - exact)
            if not (gap > network.admitted[output]).any() and changed.reshape(-1)[flat] != 0:
                missed.append((name, int(flat)))
    assert not missed


def found(change: Callable[..., Any], least: int = 1, graph: Graph | None = None, **more: Any) -> Any:
    subject = Plain(Wrong(change, least))
    (outcome,) = run_checks(["exact"], subject, case_of(graph or small(), **more))
    return outcome


@pytest.mark.parametrize("name", ["stem.weight", "conv2.weight", "depth.weight", "right.bias", "fc.weight"])
@pytest.mark.parametrize("lost", [True, False])
def test_one_wrong_weight_of_a_whole_program_is_located(name, lost, tmp_path):
    outcome = found(wrong_weight(name, lost=lost), least=2, folder=tmp_path)
    assert outcome.status == "failed"
    assert outcome.node == name.partition(".")[0]
    assert "first node that introduces error" in outcome.details["report"]
    right = InProcessSubject(loaded_backend("numpy"))
    assert replay(Path(outcome.reproducer), right).status == "passed"


def corner_off(value):
    value[0, 0, 0, 0] *= np.float32(1.01)


def border_lost(value):
    value[..., -1, -1] = 0


def in_tf32(value):
    value[...] = value - np.float32(2.0**13) * value + np.float32(2.0**13) * value  # keeps about 11 bits


@pytest.mark.parametrize(
    ("node", "change"),
    [
        ("bn1", in_tf32),
        ("sum", in_tf32),
        *((n, c) for n in ("norm", "act3", "right") for c in (corner_off, border_lost)),
    ],
)
def test_one_wrong_element_of_a_whole_program_is_located(node, change):
    subject = Plain(WrongElement(node, change, least=2))
    (outcome,) = run_checks(["exact"], subject, case_of(small(), replace(FOLDED, fold_batch_norm=False)))
    assert outcome.status == "failed"
    assert outcome.node == node


def test_what_only_the_whole_program_does_is_found_and_said():
    whole = len(small().nodes)
    subject = Plain(WrongElement("bn1", corner_off, least=whole))
    (outcome,) = run_checks(["exact"], subject, case_of(small(), replace(FOLDED, fold_batch_norm=False)))
    assert outcome.status == "failed"
    assert f"in a program of the {whole} nodes up to there and not in fewer" in outcome.message


def test_a_mismatch_stays_a_failure_where_its_node_cannot_be_looked_for():
    class Refuses(Plain):
        def __init__(self, subject):
            super().__init__(subject)
            self.passes = 0

        def __getattribute__(self, name):
            found = super().__getattribute__(name)
            return self._refusing(found) if name == "forward" else found

        def _refusing(self, right):
            def forward(graph, *arguments):
                if len(graph.nodes) > 1 and any(n.name == "stem" for n in graph.nodes) and graph.name == "small":
                    self.passes += 1
                    if self.passes > 1:
                        raise UnavailableError("no more programs")
                return right(graph, *arguments)

            return forward

    subject = Refuses(Wrong(wrong_weight("fc.weight"), 2))
    outcome = check_program(subject, Oracle.of(case_of(small())))
    assert outcome.status == "failed"
    assert "could not be looked for: no more programs" in outcome.message


@pytest.mark.parametrize("wrong", [False, True], ids=["right layers", "wrong layers"])
def test_a_program_that_is_refused_is_no_pass_although_its_layers_are_equal(wrong):
    class Lacks(InProcessSubject):
        """Takes layers and no whole program, as where an op of it is missing."""

        open = None

        def forward(self, graph, arrays, batch, options):
            if not any(item.name.startswith("forced.") for item in graph.inputs):
                raise UnavailableError("conv3d is not here")
            found = super().forward(graph, arrays, batch, options)
            return found._replace(outputs={name: value + int(wrong) for name, value in found.outputs.items()})

    subject = Lacks(loaded_backend("numpy"))
    (outcome,) = run_checks(["exact"], subject, case_of(small(), replace(FOLDED, fold_batch_norm=False)))
    assert outcome.status == ("failed" if wrong else "skipped")
    assert wrong or outcome.message == "conv3d is not here"


def test_a_network_without_an_exact_part_says_so():
    build = Builder("normalised")
    x = build.add("norm", LayerNorm(), build.input("x", (4, 8)))
    outcome = check_program(InProcessSubject(loaded_backend("numpy")), Oracle.of(case_of(build.build(x))))
    assert outcome.status == "skipped"
    assert outcome.message.startswith("not applicable: ")


def test_inexact_nodes_are_left_out_and_the_rest_is_compared():
    build = Builder("parted")
    x = build.input("x", (3, 9, 9))
    x = build.add("conv1", Conv(out_channels=8, kernel_size=3, padding=1), x)
    x = build.add("norm", GroupNorm(groups=2), build.add("relu", ReLU(), x))
    x = build.add("conv2", Conv(out_channels=8, kernel_size=3, padding=1), x)
    case = case_of(build.build(x))
    network = integer_network(case, DRAWS[0])
    assert network.cut == ("norm",)
    outcome = check_program(InProcessSubject(loaded_backend("numpy")), Oracle.of(case))
    assert outcome.status == "passed"
    assert not outcome.compares_program
    for name in ("conv1", "conv2"):
        assert found(wrong_weight(f"{name}.weight"), graph=case.graph).node == name


@pytest.mark.parametrize(("size", "cut"), [(4, ("up",)), (3, ())], ids=["thirds", "halves"])
def test_weights_that_are_rounded_make_an_interpolation_inexact_even_where_all_values_are_alike(size, cut):
    """1/3 a + 2/3 a is a in real numbers; PyTorch gives 0.99999994 for 1."""
    build = Builder("resized")
    x = build.add("alike", Affine(scale=0.0, shift=-1.0), build.input("x", (3, 2, 2)))
    x = build.add("up", Resize(size=size, mode="linear", coordinates="align_corners"), x)
    options = ProgramOptions("eager", precision("float32"))
    case = case_of(build.build(build.add("conv", Conv(out_channels=4, kernel_size=1), x)), options)
    assert integer_network(case, DRAWS[0]).cut == cut
    pytest.importorskip("torch")
    outcome = check_program(InProcessSubject(loaded_backend("torch")), Oracle.of(case))
    assert outcome.status == "passed", outcome.message


def channel_off(value):
    value[:, 1] *= np.float32(1.5)


@pytest.mark.parametrize("node", ["bn1", "sum", "right"])
def test_what_only_end_to_end_finds_is_located_by_prefixes_of_the_program(node, tmp_path):
    graph = small()
    options = replace(FOLDED, fold_batch_norm=False)
    case = replace(case_of(graph, options, folder=tmp_path), arrays=general_position(graph, 0))
    subject = Plain(WrongElement(node, channel_off, least=2))
    (outcome,) = run_checks(["end_to_end"], subject, case)
    assert outcome.status == "failed"
    said = f"every node alone that was compared is within its budget; the program goes wrong at {node}, in a program of"
    assert said in outcome.message
    assert "programs were compiled" in outcome.details["report"]
    assert outcome.node == node
    assert replay(Path(outcome.reproducer), subject).status == "failed"
    assert replay(Path(outcome.reproducer), InProcessSubject(loaded_backend("numpy"))).status == "passed"


def test_what_is_left_of_a_network_can_be_sent_to_a_worker():
    """A cut value that meets one which is not cut has the batch axis, too: workers read graphs for one image."""
    from cnnbench.numerics.integer_network import _without
    from cnnbench.spec.layers import Tanh
    from cnnbench.spec.layers.merge import Add
    from cnnbench.spec.serialization import graph_from_json

    builder = Builder("branches")
    x = builder.add("conv", Conv(out_channels=3, kernel_size=1), builder.input("image", (3, 4, 4)))
    graph = builder.build(builder.add("add", Add(), x, builder.add("tanh", Tanh(), x)))
    left = _without(graph, frozenset({"tanh"}), 2)
    again = graph_from_json(left.to_json())
    assert again == left
    assert again.shapes(3)["add"] == (3, 3, 4, 4)


def test_a_cut_value_of_images_joined_with_regions_fits_any_batch():
    """As in a detector, whose heads read one row for each region of each image."""
    from cnnbench.numerics.integer_network import _without
    from cnnbench.spec.layers import Tanh
    from cnnbench.spec.layers.shape import Reshape
    from cnnbench.spec.serialization import graph_from_json

    builder = Builder("regions")
    image = builder.input("image", (4, 6))
    rows = builder.add("rows", Reshape(shape=(-1, 6), whole=True), image)
    x = builder.add("fc", Linear(out_features=6), builder.add("tanh", Tanh(), rows))
    back = builder.add("back", Reshape(shape=(-1, 4, 6), whole=True), x)
    graph = builder.build(builder.add("sum", Add(), back, image))
    left = _without(graph, frozenset({"tanh"}), 2)
    again = graph_from_json(left.to_json())
    assert again == left
    assert again.shapes(3)["sum"] == (3, 4, 6)
    case = case_of(graph)
    assert integer_network(case, DRAWS[0]).cut == ("tanh",)
    outcome = check_program(InProcessSubject(loaded_backend("numpy")), Oracle.of(case))
    assert outcome.status == "passed", outcome.message
