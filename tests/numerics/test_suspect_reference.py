"""A plugin's wrong op for NumPy: the reference is contradicted, and not the backends that are right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import cnnbench
from cnnbench import registry
from cnnbench.execution.operations import Gradients, OpResult
from cnnbench.hookspecs import hookimpl
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.suspicion import probe, suspicion
from cnnbench.spec.composites import Composite
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Conv, Layer, ReLU, Tanh


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNBENCH_CACHE", str(tmp_path / "cache"))


@dataclass(frozen=True, kw_only=True)
class Cube(Layer, kind="test_cube"):
    """x^3 / 100."""


@dataclass(frozen=True, kw_only=True)
class Twice(Composite, kind="test_twice"):
    """tanh(tanh(x))."""

    def expand(self, builder, *inputs):
        return builder.add("second", Tanh(), builder.add("first", Tanh(), *inputs))


def op(compute: Callable[[Any], Any]) -> Callable[..., OpResult]:
    return lambda layer, inputs, weights, state, call: OpResult((compute(inputs[0]),), saved=inputs[0])


def cube_backward(layer, x, gradients, weights, call):
    return Gradients((0.03 * x * x * gradients[0],))


RIGHT, WRONG = op(lambda x: x * x * (x / 100)), op(lambda x: x * x * (x / 99))


@pytest.fixture
def register() -> Iterator[Callable[..., None]]:
    """Registers ops of a kind as a plugin would; those of other backends are right."""

    def registered(kind: str = "test_cube", others: Any = RIGHT, backward: Any = cube_backward, **ops: Any) -> None:
        class Given:
            @staticmethod
            @hookimpl
            def cnnbench_operations(backend, operations):
                found = ops.get(backend, others)
                if found is not None:
                    operations.register(kind, backward=backward)(found)

        registry.plugin_manager().register(Given(), "given")

    yield registered
    registry.forget_plugins()


def network(layer: Layer) -> Graph:
    builder = Builder("suspect")
    x = builder.input("x", (3, 6, 6))
    x = builder.add("conv", Conv(out_channels=4, kernel_size=3), x)
    return builder.build(builder.add("act", layer, x))


@pytest.fixture
def frameworks() -> None:
    for name in ("torch", "jax", "tensorflow"):
        pytest.importorskip(name, reason="needs three frameworks")


@pytest.mark.parametrize("asked", [["torch", "jax", "tensorflow", "numpy"], ["torch", "jax"]])
def test_numpy_alone_disagrees(frameworks, register, asked):
    register(numpy=WRONG)
    result = cnnbench.verify(network(Cube()), backends=asked, checks=["local"])
    (outcome,) = [o for item in result.backends for o in item.outcomes if o.name == "reference"]
    assert outcome.node == "act"
    names = "jax, tensorflow and torch" if len(asked) > 2 else "jax and torch"
    assert f"NumPy alone disagrees with {names}, which agree with each other" in outcome.message
    assert [item.status for item in result.backends if item.backend == "numpy"] == ["failed"]
    assert result.exit_code == 4


def test_a_pair_that_is_wrong_alike_is_not_right_in_silence(register):
    def backward(layer, x, gradients, weights, call):
        return Gradients((3 * x * x / 99 * gradients[0],))

    register(numpy=WRONG, others=None, backward=backward)
    result = cnnbench.verify(network(Cube()), backends=["numpy"], checks=["local", "gradient"])
    assert [o.status for item in result.backends for o in item.outcomes] == ["passed", "passed", "skipped"]
    assert "nothing but a plugin's op for NumPy says what test_cube computes" in str(result)


@pytest.mark.torch
def test_another_backend_is_a_second_definition(register):
    register()
    both = cnnbench.verify(network(Cube()), backends=["numpy", "torch"], checks=["local"])
    assert {o.name for item in both.backends for o in item.outcomes} == {"local"}


def test_parts_are_a_second_definition(register):
    register("test_twice", numpy=op(lambda x: np.tanh(np.tanh(x))), others=None)
    parts = cnnbench.verify(network(Twice()), backends=["numpy"], checks=["local"])
    assert [o.name for item in parts.backends for o in item.outcomes] == ["local"]


def test_one_wrong_backend_leaves_the_reference_alone(frameworks, register):
    register(torch=WRONG)
    result = cnnbench.verify(network(Cube()), backends=["numpy", "torch", "jax"], checks=["local", "end_to_end"])
    assert [item.status for item in result.backends] == ["passed", "failed", "passed"]


def test_two_backends_that_are_wrong_in_two_ways_do_not_agree(frameworks, register):
    register(torch=WRONG, jax=op(lambda x: x * x * (x / 101)))
    result = cnnbench.verify(network(Cube()), backends=["numpy", "torch", "jax"], checks=["local", "end_to_end"])
    assert [item.status for item in result.backends] == ["passed", "failed", "failed"]


def test_an_injected_fault_is_in_every_backend_and_no_suspicion(frameworks):
    result = cnnbench.verify("lenet5", backends=["torch", "jax"], checks=["local"], fault="conv.kernel_flip")
    assert {o.name for item in result.backends for o in item.outcomes} == {"local"}


def failed(node: str, values: list[float], name: str = "local") -> CheckOutcome:
    seen = probe(np.array(values), np.array(0.1), "output")
    return CheckOutcome(name=name, status="failed", node=node, details={"probe": seen})


def test_suspicion_needs_two_backends_at_one_node_with_equal_values():
    a, b = [[failed("n", [1.0, 2.0])]], [[failed("n", [1.1, 2.1])]]
    assert suspicion({"torch": a, "jax": b}) is not None
    assert suspicion({"torch": a, "jax": b, "numpy": [[failed("n", [1.0, 2.0])]]}) is not None
    assert suspicion({"torch": [*a, *b]}) is None
    assert suspicion({"torch": a, "jax": [[failed("m", [1.0, 2.0])]]}) is None
    assert suspicion({"torch": a, "jax": [[failed("n", [1.0, 2.3])]]}) is None
    assert suspicion({"torch": a, "jax": b, "tensorflow": [[CheckOutcome(name="local", status="passed")]]}) is None
    assert suspicion({"torch": a, "jax": [[failed("n", [1.0, 2.0], "exact")]]}) is None


def test_a_gradient_that_is_not_the_forward_op_s_is_found_on_numpy_alone(register):
    register(numpy=WRONG)
    result = cnnbench.verify(network(Cube()), backends=["numpy"], checks=["gradient"])
    (outcome,) = result.backends[0].outcomes
    assert outcome.status == "failed"
    assert outcome.node == "act"
    assert "the reference is suspect" in outcome.message
    assert "central differences" in outcome.message
    assert "the plugin 'given'" in outcome.message


def test_a_right_pair_of_ops_passes(register):
    register()
    result = cnnbench.verify(network(Cube()), backends=["numpy"])
    assert result.exit_code == 0, str(result)


@pytest.mark.parametrize(
    ("kind", "layer", "right", "wrong"),
    [
        ("relu", ReLU(), lambda x: np.maximum(x, 0), lambda x: np.maximum(x, 0.01 * x)),
        ("test_twice", Twice(), lambda x: np.tanh(np.tanh(x)), np.tanh),
    ],
)
def test_an_op_is_held_to_what_else_defines_its_kind(register, kind, layer, right, wrong):
    register(kind, numpy=op(wrong), others=None, backward=lambda *_: Gradients((np.zeros((2, 4, 4, 4)),)))
    result = cnnbench.verify(network(layer), backends=["numpy"], checks=["local"])
    assert result.exit_code == 4
    assert "contradicts NumPy's op of the plugin 'given'" in result.backends[0].outcomes[0].message
    registry.forget_plugins()
    register(kind, numpy=op(right), others=None)
    assert cnnbench.verify(network(layer), backends=["numpy"], checks=["local", "end_to_end"]).exit_code == 0
