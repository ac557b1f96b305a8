"""L-BFGS as an update rule: PyTorch's own on every backend, its slots, and faults that the training check finds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from loaded_backends import loaded_backend
from step_cases import linear_graph

from cnnbench.conformance.programs import drawn_batch, small_network
from cnnbench.errors import FieldError
from cnnbench.execution.backends import backend_plugin
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.host import SlotName
from cnnbench.execution.precision import precision
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.clipping import Clipping
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Conv, GlobalAvgPool
from cnnbench.spec.losses import CrossEntropy, MeanSquaredError
from cnnbench.spec.optimizers import LimitedMemoryBFGS, Optimizer, optimizer_from_fields
from cnnbench.spec.weights import general_position, split_state
from cnnbench.training.minimizing import LBFGS, minimize
from cnnbench.training.steps import TrainingSteps

BACKENDS = ("numpy", "torch", "jax", "tensorflow")
RNG = np.random.default_rng(7)
WEIGHTS = {"fc.weight": RNG.normal(size=(3, 4)), "fc.bias": RNG.normal(size=3)}
BATCH = {"x": RNG.normal(size=(9, 4)), "targets": RNG.normal(size=(9, 3))}


def program(backend: str, rule: Optimizer, name: str = "float64") -> Any:
    options = ProgramOptions(backend_plugin(backend).modes[0], precision(name), training=True)
    found = loaded_backend(backend).compile_step(linear_graph(), options, MeanSquaredError(), rule)
    found.load(WEIGHTS, {})
    return found


def steps(found: Any, rates: Any) -> list[float]:
    return [found.loss(found.run(found.upload(BATCH), rate)) for rate in rates]


def value(point: Any) -> tuple[float, Any]:
    """The loss and its gradient, by their definition; the bias comes first, as names are sorted."""
    bias, weight = point[:3], point[3:].reshape(3, 4)
    error = BATCH["x"] @ weight.T + bias - BATCH["targets"]
    slope = 2 * error / error.size
    return float((error**2).mean()), np.concatenate([slope.sum(0), (slope.T @ BATCH["x"]).ravel()])


@pytest.mark.parametrize("history", [1, 3, 10])
@pytest.mark.parametrize("backend", BACKENDS)
def test_steps_are_those_of_the_host_in_float64(backend: str, history: int) -> None:
    start = np.concatenate([WEIGHTS["fc.bias"], WEIGHTS["fc.weight"].ravel()])
    never = {"gradient_tolerance": -1.0, "change_tolerance": -1.0}
    truth = minimize(value, start, LBFGS(rate=0.7, history=history, **never), 8)
    found = program(backend, LimitedMemoryBFGS(history=history))
    np.testing.assert_allclose(steps(found, [0.7] * 8), truth.values[:8], rtol=1e-9)
    held = found.snapshot().weights
    np.testing.assert_allclose(held["fc.bias"], truth.point[:3], rtol=1e-7)
    np.testing.assert_allclose(held["fc.weight"].ravel(), truth.point[3:], rtol=1e-7)
    assert truth.values[-1] < 0.1 * truth.values[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_slots_hold_the_newest_pairs_first(backend: str) -> None:
    found, rule = program(backend, LimitedMemoryBFGS(history=2)), LimitedMemoryBFGS(history=2)
    weights, gradients = [WEIGHTS["fc.bias"]], []
    for rate in (0.5, 0.4, 0.3, 0.2):
        before = found.snapshot().weights
        gradients.append(value(np.concatenate([before["fc.bias"], before["fc.weight"].ravel()]))[1][:3])
        steps(found, [rate])
        weights.append(found.snapshot().weights["fc.bias"])
    slots = found.snapshot().slots
    assert set(slots) == {SlotName(name, slot) for name in WEIGHTS for slot in rule.slots}
    truth = {
        "gradient": gradients[3], "change": weights[4] - weights[3],
        "change_1": weights[3] - weights[2], "moved_1": gradients[3] - gradients[2],
        "change_2": weights[2] - weights[1], "moved_2": gradients[2] - gradients[1],
    }  # fmt: skip
    for slot, expected in truth.items():
        np.testing.assert_allclose(slots[SlotName("fc.bias", slot)], expected, rtol=1e-8, atol=1e-12, err_msg=slot)
    for slot, count in (("step", 4), ("pairs", 2)):
        assert slots[SlotName("fc.weight", slot)].dtype == np.int64
        assert int(slots[SlotName("fc.weight", slot)]) == count


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_program_goes_on_from_its_slots_bit_for_bit(backend: str) -> None:
    rule, rates = LimitedMemoryBFGS(history=3), [0.5, 0.4, 0.3, 0.2, 0.5, 0.5]
    whole = program(backend, rule, "float32")
    steps(whole, rates)
    for at in (0, 1, 5):
        first, second = program(backend, rule, "float32"), program(backend, rule, "float32")
        steps(first, rates[:at])
        held = first.snapshot()
        second.load(held.weights, held.state, held.slots)
        steps(second, rates[at:])
        for got, expected in zip(second.snapshot(), whole.snapshot(), strict=True):
            for name, array in expected.items():
                np.testing.assert_array_equal(got[name], array, err_msg=f"{at}: {name}")


@pytest.mark.parametrize("backend", BACKENDS)
def test_steps_are_the_same_however_kernels_are_held(backend: str) -> None:
    b = Builder("two convolutions")
    first = b.add("first", Conv(out_channels=3, kernel_size=3), b.input("image", (2, 6, 6)))
    graph = b.build(b.add("pool", GlobalAvgPool(), b.add("second", Conv(out_channels=4, kernel_size=3), first)))
    rng, arrays = np.random.default_rng(3), general_position(graph, 0)
    batch = {"image": rng.normal(size=(5, 2, 6, 6)).astype(np.float32), "targets": np.array([0, 1, 2, 3, 0])}
    found = {}
    for layout in dict.fromkeys(("auto", *backend_plugin(backend).layouts)):
        options = ProgramOptions(backend_plugin(backend).modes[0], precision("float64"), layout=layout, training=True)
        step = loaded_backend(backend).compile_step(graph, options, CrossEntropy(), LimitedMemoryBFGS(history=2))
        step.load(*split_state(graph, arrays))
        for _ in range(4):
            step.run(step.upload(batch), 0.5)
        held = step.snapshot()
        step.load(held.weights, held.state, held.slots)
        step.run(step.upload(batch), 0.5)
        found[layout] = step.snapshot()
    for layout, snapshot in found.items():
        for name, array in found["auto"].weights.items():
            np.testing.assert_allclose(snapshot.weights[name], array, rtol=1e-9, atol=1e-12, err_msg=layout)
        assert float(np.abs(snapshot.weights["first.weight"] - arrays["first.weight"]).max()) > 1e-3


def checked(backend: str, rule: Optimizer, count: int = 8) -> Any:
    graph = small_network()
    options = ProgramOptions(backend_plugin(backend).modes[0], precision("float32"), training=True)
    batch = {"image": drawn_batch()["image"]}
    training = replace(TrainingSteps.of_steps(count), optimizer=rule, rates=(0.3, 0.5, 0.5, 0.4) * (count // 4))
    case = Case(graph, general_position(graph, 0), batch, options, training=training)
    (found,) = run_checks(["training"], InProcessSubject(loaded_backend(backend)), case)
    return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_steps_pass_the_training_check(backend: str) -> None:
    found = checked(backend, LimitedMemoryBFGS(history=4))
    assert found.status == "passed", found.message
    assert found.details["steps"] == 8


@pytest.mark.parametrize("fault", ["a step short of its scale", "one pair", "pairs in another order"])
def test_a_wrong_rule_fails_the_training_check(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    import torch
    from cnnbench_torch.optimizers import OPTIMIZERS

    class Wrong(torch.optim.LBFGS):
        def step(self, closure: Any) -> Any:
            state = self.state[self._params[0]]
            if fault == "a step short of its scale" and not state:
                size = sum(float(parameter.grad.abs().sum()) for parameter in self._params)
                self.param_groups[0]["lr"] *= max(size, 1.0)
            loss = super().step(closure)
            if fault == "pairs in another order":
                for name in ("old_dirs", "old_stps", "ro"):
                    state[name].reverse()
            return loss

    def rule(optimizer: Any, parameters: Any, decays: Any) -> Any:
        kept = 1 if fault == "one pair" else optimizer.history
        never = {"tolerance_grad": -1.0, "tolerance_change": -np.inf}
        return Wrong(parameters, lr=0.0, max_iter=1, history_size=kept, **never)

    monkeypatch.setitem(OPTIMIZERS._table, "lbfgs", rule)
    assert checked("torch", LimitedMemoryBFGS(history=4)).status == "failed"


def test_fields_that_cannot_be_are_refused() -> None:
    with pytest.raises(FieldError, match="history"):
        LimitedMemoryBFGS(history=0)
    with pytest.raises(FieldError, match="clipping"):
        LimitedMemoryBFGS(clipping=Clipping(kind="value", limit=1.0))
    assert optimizer_from_fields("lbfgs", {"history": 5}) == LimitedMemoryBFGS(history=5)
