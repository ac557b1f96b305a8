"""Two step programs that train parts of one network in turn: each its own weights, arrays handed over on the device."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.compiled import StepProgram
from cnnbench.execution.contract import Backend, ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec.composites.element_loss import MSELoss
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import BatchNorm, Conv, Flatten, Linear, ReLU
from cnnbench.spec.losses import Objective
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.weights import initialize, split_state

BACKENDS = [
    ("numpy", "reference"),
    ("numpy", "fast"),
    pytest.param("torch", "eager", marks=pytest.mark.torch),
    pytest.param("jax", "jit", marks=pytest.mark.jax),
    pytest.param("tensorflow", "graph", marks=pytest.mark.tensorflow),
]
BODY, HEAD = ("body.conv.weight", "body.norm.weight", "body.norm.bias"), ("head.weight", "head.bias")


@cache
def loaded(name: str) -> Backend:
    if name != "numpy":
        pytest.importorskip(name, reason=f"needs {name}")
    backend = load_backend(name)
    backend.configure(ProcessSettings(threads=2))
    return backend


def network(name: str, scale: float = 1.0):
    b = Builder(name)
    x, wanted = b.input("x", (2, 5, 4)), b.input("wanted", (3,))
    x = b.add("body.conv", Conv(out_channels=4, kernel_size=3, padding=1, bias=False), x)
    x = b.add("body.relu", ReLU(), b.add("body.norm", BatchNorm(momentum=0.3), x))
    y = b.add("head", Linear(out_features=3), b.add("flat", Flatten(), x))
    return b.build({"loss": b.add("loss", MSELoss(), y, wanted)})


def batch(step: int):
    draw = np.random.default_rng(step)
    return {"x": draw.normal(size=(3, 2, 5, 4)), "wanted": draw.normal(size=(3, 3))}


def programs(name: str, mode: str) -> dict[str, StepProgram]:
    options = ProgramOptions(mode, precision("float64"), training=True)
    arrays = initialize(network("a"), 0)
    found = {}
    for part, trained in (("body", BODY), ("head", HEAD)):
        how = replace(options, trained=trained)
        found[part] = loaded(name).compile_step(network(part), how, Objective(), SGD(momentum=0.9))
        found[part].load(*split_state(network(part), arrays))
    return found


def in_turn(found: dict[str, StepProgram], adopt=lambda program, arrays: program.adopt(arrays)):
    """Two rounds of body and head: (loss, arrays after the step, slots) of each step."""
    seen, arrays = [], {}
    for step, part in enumerate(("body", "head", "body", "head")):
        program = found[part]
        adopt(program, arrays)
        loss = program.loss(program.run(program.upload(batch(step)), 0.05))
        arrays = {**arrays, **program.arrays()}
        after = program.snapshot()
        seen.append((loss, {**after.weights, **after.state}, after.slots))
    return seen


def by_the_host(program: StepProgram, arrays) -> None:
    StepProgram.adopt(program, arrays)


@pytest.mark.parametrize(("name", "mode"), BACKENDS)
def test_programs_in_turn_go_on_from_each_other_and_move_only_what_they_train(name, mode):
    found, before = in_turn(programs(name, mode)), initialize(network("a"), 0)
    for step, (part, own) in enumerate((("body", BODY), ("head", HEAD)) * 2):
        _, after, slots = found[step]
        moved = {key for key in after if not np.array_equal(after[key], before[key])}
        assert moved == {*own, "body.norm.running_mean", "body.norm.running_var"}, part
        assert set(slots) == {f"{weight}/momentum" for weight in own}
        before = after
    right = in_turn(programs("numpy", "reference"))
    for (loss, after, slots), (loss_, after_, slots_) in zip(found, right, strict=True):
        assert loss == pytest.approx(loss_, rel=1e-11)
        for key, value in {**after_, **slots_}.items():
            np.testing.assert_allclose({**after, **slots}[key], value, rtol=1e-9, atol=1e-12, err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mode"), BACKENDS)
def test_loading_anew_after_a_handover_starts_again(name, mode):
    found = programs(name, mode)
    first = in_turn(found)
    for part, program in found.items():
        program.load(*split_state(network(part), initialize(network("a"), 0)))
    assert [loss for loss, *_ in in_turn(found)] == pytest.approx([loss for loss, *_ in first], rel=1e-12)


def test_a_handover_by_the_host_gives_the_same():
    def arrays_of(program: StepProgram):
        return StepProgram.arrays(program)

    found = programs("numpy", "reference")
    for program in found.values():
        program.arrays = lambda program=program: arrays_of(program)  # type: ignore[method-assign]
    for (_, after, _), (_, right, _) in zip(
        in_turn(found, by_the_host), in_turn(programs("numpy", "reference")), strict=True
    ):
        assert all(np.array_equal(after[key], right[key]) for key in right)


def test_a_weight_that_is_not_there_cannot_be_trained():
    options = ProgramOptions("reference", precision("float64"), training=True, trained=("head.weihgt",))
    with pytest.raises(SpecError, match=r"no trainable weight 'head.weihgt'(.|\n)*'head\.weight'"):
        loaded("numpy").compile_step(network("a"), options, Objective(), SGD())


def test_an_array_in_another_layout_is_refused():
    found = programs("numpy", "reference")["head"]
    arrays = {name: array._replace(channels_last=True) for name, array in found.arrays().items()}
    with pytest.raises(SpecError, match="another layout"):
        found.adopt(arrays)
