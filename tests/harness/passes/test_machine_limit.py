"""The machine's limit for convolutions: fast algorithms stay above it, and a result just below it is an error."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cnnbench.execution.precision import precision
from cnnbench.harness.passes import machine_limit
from cnnbench.harness.passes.machine_limit import too_little
from cnnbench.measurement.least_work import MARGIN, NARROW, LeastWork, MachineRates, economy
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Conv

RATES = MachineRates(5e10, 1e13)  # copies are free: products alone are looked at
FLOAT32 = precision("float32")


def network(kernel: int = 3, stride: int = 1) -> Graph:
    builder = Builder("one convolution")
    image = builder.input("image", (32, 30, 30))
    layer = Conv(out_channels=48, kernel_size=kernel, stride=stride, padding=kernel // 2)
    return builder.build(builder.add("conv", layer, image))


def definition(graph: Graph, batch: int) -> int:
    """Multiplications and additions of the sums as they are defined."""
    (node,) = graph.nodes
    return 2 * node.layer.macs(graph.input_shapes(node, batch), graph.output_shapes(node, batch))


@pytest.mark.parametrize("outputs", [2, 4, 6])
def test_winograds_algorithms_for_3_by_3_are_possible(outputs):
    """F(m x m, 3 x 3) takes (m + 2)^2 products for m^2 outputs of 9: 2.25, 4 and 5.06 times fewer."""
    fewer = 9 * outputs**2 / (outputs + 2) ** 2
    graph = network()
    (node,) = graph.nodes
    assert fewer <= economy(node.layer.window()) < 9
    least_s = LeastWork.of(graph, 4, FLOAT32).seconds(RATES, FLOAT32)
    assert definition(graph, 4) / fewer / RATES.operations_per_s >= MARGIN * least_s


@pytest.mark.parametrize(
    ("kernel", "stride", "fewer"), [(1, 1, 1.0), (3, 1, 81 / 16), (3, 2, (12 / 7) ** 2), (5, 1, 9.0), (2, 2, 1.0)]
)
def test_the_least_work_of_a_window(kernel, stride, fewer):
    graph = network(kernel, stride)
    found = LeastWork.of(graph, 2, FLOAT32).operations
    assert found == pytest.approx(definition(graph, 2) / fewer, rel=1e-12)


def judged(monkeypatch: pytest.MonkeyPatch, latency_s: float, policy: str = "float32") -> str | None:
    graph = network()
    monkeypatch.setattr(machine_limit, "_rates", lambda work, cell, again: RATES)
    materials = SimpleNamespace(of=lambda cell: SimpleNamespace(graph=graph))
    cell = SimpleNamespace(device="cpu", precision=policy, batch=4)
    samples = [SimpleNamespace(latency_s=latency_s)]
    work: Any = SimpleNamespace(facts=SimpleNamespace(materials=materials))
    member: Any = SimpleNamespace(cell=cell, samples=samples, rounds=[])
    return too_little(work, member)


@pytest.mark.parametrize(("policy", "faster"), [("float32", 1), ("bfloat16", NARROW)])
def test_a_result_just_below_the_limit_is_an_error(monkeypatch, policy, faster):
    """A 3 x 3 convolution at 81/16 times the machine's rate is believed twice over, and not a little more."""
    limit_s = definition(network(), 4) / (81 / 16) / (MARGIN * faster * RATES.operations_per_s)
    assert judged(monkeypatch, 1.01 * limit_s, policy) is None
    text = judged(monkeypatch, 0.99 * limit_s, policy)
    assert text is not None
    assert "no less than" in text
    assert "50 GFLOP/s" in text
