"""Profiles on a clock that the steps themselves move: what each node takes, has to do, and is said to reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from cnnbench.execution.backends import load_backend
from cnnbench.execution.binding import bind_program
from cnnbench.execution.compiled import ForwardProgram, WatchedPass
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.execution.program import BoundStep, Program
from cnnbench.measurement.clock import ManualClock
from cnnbench.measurement.profile import StepWork, limit_s, node_work, profile_alone, profile_pass, work_of
from cnnbench.spec.draws import draw_inputs
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import BatchNorm, Conv, Flatten, Linear, ReLU
from cnnbench.spec.weights import general_position, split_state

CONV_BYTES = 4 * (2 * 3 * 8 * 8 + 4 * 3 * 3 * 3 + 4 * 4 + 2 * 4 * 6 * 6)  # image, kernel, four arrays of bn, output


def small() -> Graph:
    """conv (3 channels to 4, 8x8 to 6x6), batch norm, ReLU, flatten, linear (144 to 5)."""
    builder = Builder("small")
    x = builder.add("conv", Conv(out_channels=4, kernel_size=3, bias=False), builder.input("image", (3, 8, 8)))
    x = builder.add("relu", ReLU(), builder.add("bn", BatchNorm(), x))
    return builder.build(builder.add("fc", Linear(out_features=5), builder.add("flatten", Flatten(), x)))


def loaded(graph: Graph, backend: str, mode: str, policy: str = "float32") -> tuple[ForwardProgram, Any]:
    """A program with weights in general position, and the operands of two images."""
    program = load_backend(backend).compile_forward(graph, ProgramOptions(mode, precision(policy)))
    program.load(*split_state(graph, general_position(graph, 3)))
    return program, program.upload(draw_inputs(graph, 3, 2))


class Scripted:
    """A program whose steps take the written times, and which spends a second after the last of them."""

    def __init__(self, clock: ManualClock, program: Program, durations: Sequence[Sequence[float]]) -> None:
        self.clock = clock
        self.program = program
        self.durations: Iterator[Sequence[float]] = iter(durations)
        self.plain = 0

    def watched(self, operands: object, watch: Callable[[int], None]) -> WatchedPass:
        def run() -> None:
            for number, seconds in enumerate(next(self.durations)):
                self.clock.advance(seconds)
                watch(number)
            self.clock.advance(1.0)

        return WatchedPass(self.program, run)

    def run(self, operands: object) -> None:
        self.plain += 1
        self.clock.advance(50.0)


def test_the_steps_and_what_follows_them_are_the_pass() -> None:
    """The two passes before the rounds count nothing; waiting for the device belongs to the step that it waits for."""
    clock = ManualClock()
    bound = bind_program(small(), load_backend("numpy").operations)
    short = replace(bound, steps=bound.steps[:2])
    script = Scripted(clock, short, [(900, 900), (900, 900), (1, 4), (2, 5), (6, 6)])
    found = profile_pass(
        script,  # type: ignore[arg-type]
        None,
        lambda step, graph: work_of(step, graph, 2, 4),
        lambda: clock.advance(0.5),
        rounds=3,
        clock=clock.clock,
    )
    assert found is not None
    assert [step.times_s for step in found.steps] == [(1.5, 2.5, 6.5), (4.5, 5.5, 6.5)]
    assert [step.median_s for step in found.steps] == [2.5, 5.5]
    assert [step.quartiles_s for step in found.steps] == [(2.0, 4.5), (5.0, 6.0)]
    assert [step.work.name for step in found.steps] == ["conv", "bn"]
    sums = [sum(times) for times in zip(*(step.times_s for step in found.steps), strict=True)]
    assert found.passes_s == tuple(total + 1.5 for total in sums)  # the second at the end, and the last wait
    assert found.plain_s == (50.5,) * 3
    assert script.plain == 5


def test_layers_alone_are_timed_once_a_round_where_they_are_equal() -> None:
    clock, calls = ManualClock(), {"first": 0, "second": 0}

    def first() -> None:
        calls["first"] += 1
        clock.advance(calls["first"])

    def second() -> None:
        calls["second"] += 1
        clock.advance(0.25)

    works = [StepWork(name, "relu", (name,), "", 0, 8) for name in "abc"]
    found = profile_alone(
        [(works[0], first), (works[1], second), (works[2], first)],
        lambda: clock.advance(9.0),
        lambda: None,
        rounds=3,
        clock=clock.clock,
    )
    assert [step.times_s for step in found.steps] == [(3, 4, 5), (0.25,) * 3, (3, 4, 5)]
    assert [step.work.name for step in found.steps] == ["a", "b", "c"]
    assert (found.plain_s, found.passes_s) == ((9.0,) * 3, ())
    assert calls == {"first": 5, "second": 5}


def test_the_work_of_nodes_that_are_computed_at_once() -> None:
    """Values between them are not moved, and every weight is read once."""
    conv = node_work(small(), ("conv", "bn", "relu"), batch=2, value_bytes=4, algorithm="direct")
    assert conv == StepWork("conv", "conv", ("conv", "bn", "relu"), "direct", 2 * 4 * 36 * 27, CONV_BYTES)
    fc = node_work(small(), ("fc",), batch=1, value_bytes=8)
    assert (fc.macs, fc.bytes) == (144 * 5, 8 * (144 + 144 * 5 + 5 + 5))
    assert node_work(small(), ("flatten",), batch=1, value_bytes=4).bytes is None


def test_the_limit_is_the_longer_of_products_and_bytes() -> None:
    work = StepWork("n", "conv", ("n",), "", macs=10**9, bytes=10**9)
    assert limit_s(work, gflop_per_s=100, gb_per_s=1000) == pytest.approx(0.02)
    assert limit_s(work, gflop_per_s=100, gb_per_s=10) == pytest.approx(0.1)
    assert limit_s(replace(work, bytes=None), gflop_per_s=100, gb_per_s=10) is None


def several_algorithms() -> Graph:
    """A 1x1, a depthwise, a strided and a plain 3x3 convolution."""
    builder = Builder("several")
    x = builder.input("image", (8, 16, 16))
    x = builder.add("one", Conv(out_channels=32, kernel_size=1), x)
    x = builder.add("depth", Conv(out_channels=32, kernel_size=3, padding=1, groups=32), x)
    x = builder.add("plain", Conv(out_channels=64, kernel_size=3, padding=1), x)
    return builder.build(builder.add("strided", Conv(out_channels=64, kernel_size=3, stride=2), x))


@pytest.mark.parametrize(("policy", "plain"), [("float32", "direct"), ("float32-winograd", "winograd")])
def test_numpy_tells_which_algorithm_each_convolution_has(policy: str, plain: str) -> None:
    program, operands = loaded(several_algorithms(), "numpy", "fast", policy)
    watched = program.watched(operands, lambda number: None)
    assert watched is not None
    found = {step.name: step.algorithm.partition(" ")[0] for step in watched.program.steps if step.algorithm}
    assert found == {"one": "1x1", "depth": "depthwise", "plain": plain, "strided": "direct"}


MODES = [
    pytest.param(name, mode, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
    for name, mode in (("numpy", "fast"), ("numpy", "reference"), ("torch", "eager"))
]


@pytest.mark.parametrize(("backend", "mode"), MODES)
def test_a_watched_pass_is_the_pass_and_every_node_is_in_one_step(backend: str, mode: str) -> None:
    graph, numbers = small(), list[int]()
    program, operands = loaded(graph, backend, mode)
    watched = program.watched(operands, numbers.append)
    assert watched is not None
    plain = dict(program.download(program.run(operands)).outputs)
    for name, values in program.download(watched.run()).outputs.items():
        assert np.array_equal(values, plain[name])
    steps = watched.program.steps
    assert numbers == list(range(len(steps)))
    works = [work_of(step, watched.program.graph, 2, 4) for step in steps]
    assert [name for work in works for name in work.members if "@" not in name] == [node.name for node in graph.nodes]
    assert sum(work.macs for work in works) == graph.macs(2)
    if mode == "fast":
        (conv,) = [work for work in works if work.name == "conv"]
        assert (conv.members, conv.bytes) == (("conv", "bn", "relu"), CONV_BYTES)


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_a_compiled_graph_has_no_steps_to_watch() -> None:
    options = ProgramOptions("compile", precision("float32"))
    program = load_backend("torch").compile_forward(small(), options)
    operands = program.upload(draw_inputs(small(), 3, 2))
    assert program.watched(operands, lambda number: None) is None
    assert profile_pass(program, operands, _never, lambda: None, rounds=1) is None


def _never(step: BoundStep, graph: Graph) -> StepWork:
    raise AssertionError("there is no step")
