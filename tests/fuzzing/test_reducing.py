"""A failure of a whole network is cut to the nodes that a compiler takes together, with a file and a text about it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

import cnnbench
from cnnbench.errors import SuiteError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.face.reducing import reduced_failure
from cnnbench.fuzzing.examination import Series
from cnnbench.numerics.case import Case
from cnnbench.numerics.replay import replay
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.draws import draw_inputs
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Add, BatchNorm, Conv, GlobalAvgPool, Linear, MaxPool, ReLU, Sigmoid
from cnnbench.spec.weights import general_position


def fuses(graph: Graph) -> bool:
    """Whether a batch norm is followed by a sum that is followed by a ReLU."""
    kinds = {node.name: node.layer.kind for node in graph.nodes}
    for node in graph.nodes:
        if node.layer.kind != "relu" or kinds.get(node.inputs[0]) != "add":
            continue
        added = graph.node(node.inputs[0])
        if any(kinds.get(value) == "batch_norm" for value in added.inputs):
            return True
    return False


@dataclass(frozen=True)
class FusingSubject(InProcessSubject):
    """A compiler whose kernel for batch norm, sum and ReLU clips at one half; each of them alone is right."""

    def forward(self, graph, arrays, batch, options):
        result = super().forward(graph, arrays, batch, options)
        if not fuses(graph):
            return result
        clipped = {name: np.minimum(value, np.float32(0.5)) for name, value in result.outputs.items()}
        return result._replace(outputs=clipped)


def network() -> Graph:
    """A residual network of 11 nodes, of which three are fused."""
    builder = Builder("residual")
    x = builder.input("image", (3, 16, 16))
    for i in range(2):
        x = builder.add(f"conv{i}", Conv(out_channels=6, kernel_size=3, padding=1), x)
        x = builder.add(f"act{i}", Sigmoid(), x)
    short = builder.add("pool", MaxPool(kernel_size=2), x)
    y = builder.add("deep", Conv(out_channels=6, kernel_size=3, stride=2, padding=1, groups=2), x)
    y = builder.add("norm", BatchNorm(eps=1e-3), y)
    y = builder.add("relu", ReLU(), builder.add("sum", Add(), y, short))
    y = builder.add("flat", GlobalAvgPool(), y)
    return builder.build({"logits": builder.add("fc", Linear(out_features=5), y)})


def failing():
    backend = load_backend("numpy")
    subject = FusingSubject(backend)
    series = Series("numpy", "fast", lambda: subject, ("float32",), ("channels_first",), lambda: {"numpy": "2.4"})
    graph = network()
    options = ProgramOptions("fast", precision("float32"))
    return series, Case(graph, general_position(graph, 0), draw_inputs(graph, 0, 2), options), subject


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    series, case, subject = failing()
    return reduced_failure(series, case, "end_to_end", tmp_path_factory.mktemp("reduced")), subject


def test_what_is_fused_is_left_and_nothing_else(found):
    result, _ = found
    assert result.exit_code == 4
    assert (result.finding.before, result.finding.nodes) == (11, 3)
    assert all(f'"kind": "{kind}"' in result.finding.network for kind in ("batch_norm", "add", "relu"))
    assert "16, 16" not in result.finding.network  # shapes are smaller, too


def test_the_file_fails_again_where_it_failed_and_passes_elsewhere(found):
    result, subject = found
    assert replay(result.files[0], subject).status == "failed"
    assert replay(result.files[0], InProcessSubject(subject.backend)).status == "passed"


def test_the_text_has_what_a_tracker_wants(found):
    result, _ = found
    text = result.files[1].read_text(encoding="utf-8")
    assert text == result.report
    assert text.startswith("# numpy, fast: wrong values of ")
    for part in (
        "## Versions",
        "* numpy 2.4",
        "## Network",
        "```yaml",
        f"cnnbench replay {result.files[0].name} -b numpy:fast",
    ):
        assert part in text
    assert "reduced from 11 to 3 operations" in text


def test_a_network_that_is_right_is_not_reduced():
    series, case, _ = failing()
    right = replace(series, subject=lambda: InProcessSubject(load_backend("numpy")))
    result = reduced_failure(right, case, "end_to_end")
    assert (result.finding, result.exit_code, result.outcome.status) == (None, 0, "passed")


def test_a_fault_in_a_registered_network_is_cut_to_its_node(tmp_path):
    result = cnnbench.reduce("lenet5", "numpy", check="local", fault="conv.dropped_bias", folder=tmp_path)
    assert (result.exit_code, result.finding.nodes) == (4, 1)
    assert '"kind": "conv"' in result.finding.network
    assert {path.suffix for path in result.files} == {".safetensors", ".md"}


def test_an_unknown_check_names_the_nearest():
    with pytest.raises(SuiteError, match="unknown check"):
        cnnbench.reduce("lenet5", "numpy", check="end_to_and")
