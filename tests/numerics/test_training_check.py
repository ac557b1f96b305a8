"""The training check holds every step of a program: loss, slots, weights, statistics, early, late and after a load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.host import HostTraining
from cnnbench.execution.precision import precision
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.faults import Fault as RegisteredFault
from cnnbench.numerics.faults import faulty_subject
from cnnbench.numerics.faults.engine.base import other_outputs
from cnnbench.numerics.faults.engine.programs import Loaded, Moment, ProgramChange, changed_programs
from cnnbench.numerics.faults.grammar.arithmetic import in_training
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.draws import draw_inputs
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import BatchNorm, Conv, Dropout, GlobalAvgPool, Linear, ReLU
from cnnbench.spec.layers.arithmetic import Elementwise
from cnnbench.spec.losses import CrossEntropy, MeanSquaredError
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import general_position, initialize
from cnnbench.training.schedules import Cosine
from cnnbench.training.settings import TrainSettings
from cnnbench.training.steps import HELD, TrainingSteps

FLOAT32 = ProgramOptions("reference", precision("float32"))
NESTEROV = SGD(momentum=0.9, nesterov=True, weight_decay=0.05, decay="kernels")
STEPS = TrainingSteps(NESTEROV, CrossEntropy(label_smoothing=0.1), rates=(0.05, 0.1))


def case_of(training: TrainingSteps = STEPS, seed: int = 0, **fields: Any) -> Case:
    builder = Builder("small")
    x = builder.add("conv", Conv(out_channels=4, kernel_size=3, padding=1), builder.input("image", (2, 5, 5)))
    x = builder.add("relu", ReLU(), builder.add("bn", BatchNorm(momentum=0.3), x))
    x = builder.add("drop", Dropout(p=0.2), builder.add("pool", GlobalAvgPool(), x))
    graph = builder.build({"logits": builder.add("fc", Linear(out_features=5), x)})
    images = stream(seed, "inputs").normal(size=(4, 2, 5, 5)).astype(np.float32)
    options = fields.pop("options", FLOAT32)
    return Case(graph, initialize(graph, seed), {"image": images}, options, seed=seed, training=training, **fields)


class Wrapped:
    """A step program behind which something is changed: the loss that it gives, or what it holds after a step."""

    def __init__(self, inner: Any, fault: Fault) -> None:
        self.inner, self.fault = inner, fault
        self.calls = self.since_load = 0

    def load(self, weights: Any, state: Any, slots: Any = None) -> None:
        self.since_load = 0
        self.inner.load(*self.fault.loaded(weights, state, slots))

    def upload(self, batch: Any) -> Any:
        return self.inner.upload(batch)

    def run(self, operands: Any, rate: float) -> Any:
        self.calls, self.since_load = self.calls + 1, self.since_load + 1
        before = self.inner.snapshot()
        loss = self.inner.loss(self.inner.run(operands, rate))
        count = self.since_load if self.fault.forgets else self.calls
        if count <= self.fault.after:
            return loss
        self.inner.load(*self.fault.state(before, self.inner.snapshot()))
        return self.fault.loss(loss)

    def loss(self, result: Any) -> float:
        return result

    def snapshot(self) -> HostTraining:
        return self.inner.snapshot()


class Fault:
    """What is wrong: after so many calls of a program, or (``forgets``) so many since its last load."""

    def __init__(
        self,
        loss: Callable[[float], float] = lambda loss: loss,
        state: Callable[[HostTraining, HostTraining], HostTraining] = lambda before, after: after,
        loaded: Callable[..., Any] = lambda *parts: parts,
        after: int = 0,
        forgets: bool = False,
    ) -> None:
        self.loss, self.state, self.loaded, self.after, self.forgets = loss, state, loaded, after, forgets


def check(
    case: Case, fault: Fault | None = None, asked: Callable[[Any, Any], tuple[Any, Any]] | None = None
) -> CheckOutcome:
    backend = load_backend("numpy")
    own = backend.compile_step

    def compile_step(graph: Any, options: Any, loss: Any, optimizer: Any) -> Any:
        program = own(graph, options, *(asked(loss, optimizer) if asked else (loss, optimizer)))
        return Wrapped(program, fault) if fault else program

    backend.compile_step = compile_step  # type: ignore[method-assign]
    return run_checks(["training"], InProcessSubject(backend), case)[0]


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))])
@pytest.mark.parametrize("fields", [{}, {"optimizer": SGD(momentum=0.0)}, {"loss": None, "rates": (0.01,)}])
def test_a_right_program_passes_with_whatever_the_suite_asks_for(seed, fields):
    found = check(case_of(replace(STEPS, **fields), seed))
    assert found.status == "passed", found.message
    assert 0 < found.budget_used < 1
    first = len(fields.get("rates", STEPS.rates))
    assert found.details["steps_of_the_program"] == 2 * (first + len(STEPS.later)) + HELD


def without(rule: Any, **fields: Any) -> Callable[[Any, Any], tuple[Any, Any]]:
    return lambda loss, optimizer: (
        (loss, replace(optimizer, **fields))
        if rule == "optimizer"
        else (
            replace(loss, **fields) if isinstance(loss, CrossEntropy) else loss,
            optimizer,
        )
    )


@pytest.mark.parametrize(
    ("asked", "node"),
    [
        (without("optimizer", nesterov=False), "optimizer"),
        (without("optimizer", decay="all"), "optimizer"),
        (without("optimizer", weight_decay=0.0), "optimizer"),
        (without("optimizer", momentum=0.89), "optimizer"),
        (without("loss", label_smoothing=0.0), "loss"),
        (without("loss", label_smoothing=0.11), "loss"),
    ],
)
def test_what_the_suite_asks_for_and_is_not_done_is_located_at_its_term(asked, node):
    found = check(case_of(), asked=asked)
    assert (found.status, found.node) == ("failed", node), found.message
    assert found.budget_used > 10


@pytest.mark.parametrize("after", [0, 1, 2, 5, 20])
@pytest.mark.parametrize("forgets", [False, True])
@pytest.mark.parametrize(
    "loss",
    [lambda loss: loss + 1, lambda loss: 0.0, lambda loss: np.nan, lambda loss: 4 * loss],
    ids=["one more", "zero", "nan", "four times"],
)
def test_a_wrong_loss_is_found_whenever_it_begins(loss, after, forgets):
    found = check(case_of(), Fault(loss=loss, after=after, forgets=forgets))
    assert (found.status, found.node) == ("failed", "loss"), found.message


def slower(before: HostTraining, after: HostTraining) -> HostTraining:
    moved = {
        name: before.weights[name] + 0.98 * (array - before.weights[name]) for name, array in after.weights.items()
    }
    return after._replace(weights=moved)


def with_slots(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[..., HostTraining]:
    return lambda before, after: after._replace(slots=change(after.slots))


STATES = {
    "weights move by 2 % less": slower,
    "weights stay": lambda before, after: after._replace(weights=before.weights),
    "slots are lost": with_slots(lambda slots: {name: 0 * array for name, array in slots.items()}),
    "slots are 1 % larger": with_slots(lambda slots: {name: 1.01 * array for name, array in slots.items()}),
    "a slot is the bias's": with_slots(lambda slots: slots | {"linear.bias/momentum": -slots["linear.bias/momentum"]}
                                       if "linear.bias/momentum" in slots else slots),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize(("after", "forgets"), [(0, False), (5, False), (5, True), (20, False), (20, True)])
def test_an_update_that_goes_wrong_is_found_whenever_it_begins(name, after, forgets):
    found = check(case_of(), Fault(state=STATES[name], after=after, forgets=forgets))
    assert (found.status, found.node) == ("failed", "optimizer"), found.message
    assert found.budget_used > 10


@pytest.mark.parametrize(("after", "forgets"), [(0, False), (5, False), (5, True)])
def test_running_statistics_that_stop_are_found_and_named(after, forgets):
    def stopped(before: HostTraining, state: HostTraining) -> HostTraining:
        return state._replace(state=before.state)

    found = check(case_of(), Fault(state=stopped, after=after, forgets=forgets))
    assert (found.status, found.node) == ("failed", "bn"), found.message


@pytest.mark.parametrize(
    "loaded",
    [
        lambda weights, state, slots: (weights, state, None),
        lambda weights, state, slots: (
            weights, state, slots and dict(zip(slots, [0 * a for a in slots.values()], strict=True))
        ),
        lambda weights, state, slots: (weights, {name: 0 * a + 1 for name, a in state.items()}, slots),
    ],
    ids=["slots are not loaded", "slots are loaded as zeros", "statistics are not loaded"],
)  # fmt: skip
def test_what_a_load_leaves_out_is_found(loaded):
    assert check(case_of(), Fault(loaded=loaded)).status == "failed"


def test_missing_and_exchanged_slots_are_found():
    def missing(snapshot: HostTraining) -> HostTraining:
        return snapshot._replace(slots={})

    def exchanged(snapshot: HostTraining) -> HostTraining:
        same: dict[Any, list[str]] = {}
        for name, array in snapshot.slots.items():
            same.setdefault(array.shape, []).append(name)
        pairs = {a: b for names in same.values() for a, b in zip(names, names[1:] + names[:1], strict=True)}
        return snapshot._replace(slots={name: snapshot.slots[pairs[name]] for name in snapshot.slots})

    for change, problem in ((missing, "wrong_shape"), (exchanged, None)):
        backend = load_backend("numpy")
        own = backend.compile_step

        def compile_step(*asked: Any, own=own, change=change) -> Any:
            program = own(*asked)
            right = program.snapshot
            program.snapshot = lambda: change(right())
            return program

        backend.compile_step = compile_step  # type: ignore[method-assign]
        found = run_checks(["training"], InProcessSubject(backend), case_of())[0]
        assert found.status == "failed"
        assert found.details.get("problem") == problem
        assert "momentum" in found.message


def test_a_training_that_leaves_the_range_takes_a_smaller_step_and_else_says_that_it_does():
    wild = check(case_of(replace(STEPS, rates=(1e30, 1e30, 1e30))))
    assert wild.status == "passed", wild.message
    assert wild.details["steps"] < 3
    case = case_of()
    huge = {name: array * np.float32(1e30) for name, array in case.arrays.items()}
    overflow = check(replace(case, arrays=huge))
    assert overflow.status == "skipped"
    assert overflow.message.startswith("not applicable: ")


def test_the_suites_settings_give_the_rates_of_its_schedule():
    settings = TrainSettings(learning_rate=0.1, optimizer=NESTEROV, epochs=4, schedule=Cosine(warm_up=1.0))
    found = TrainingSteps.of_settings(settings, 3)
    assert (found.optimizer, found.loss) == (NESTEROV, CrossEntropy())
    assert len(found.rates), len(found.later) == (3, 2)
    assert found.rates[0] < found.rates[1]
    assert found.rates[1] > found.rates[2] > found.later[0] > found.later[1] > 0
    constant = TrainingSteps.of_settings(TrainSettings(learning_rate=0.1), 3)
    assert constant.rates == (0.05, 0.1, 0.1)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("torch", marks=[pytest.mark.torch, pytest.mark.slow])])
@pytest.mark.parametrize(
    ("weights", "inputs"), [(1e30, 1.0), (1.0, 1e20), (1e-20, 1.0), (1.0, 1e-40), (100.0, 1.0)], ids=str
)
def test_numbers_near_their_limits_fail_no_check_of_a_right_backend(backend, weights, inputs):
    if backend == "torch":
        pytest.importorskip("torch", reason="examines PyTorch")
    mode = "reference" if backend == "numpy" else "eager"
    case = case_of(options=ProgramOptions(mode, precision("float32")))
    arrays = {name: array * np.float32(weights) for name, array in case.arrays.items()}
    batch = {name: array * np.float32(inputs) for name, array in case.batch.items()}
    checks = ["local", "end_to_end", "gradient", "training", "classes"]
    subject = InProcessSubject(loaded_backend(backend))
    found = run_checks(checks, subject, replace(case, arrays=arrays, batch=batch))
    assert [(item.name, item.message) for item in found if item.status == "failed"] == []
    skipped = [item.message for item in found if item.status == "skipped"]
    assert all(message.startswith("not applicable: ") for message in skipped)
    assert bool(skipped) == (max(weights, inputs) > 1e10)


def test_a_batch_norm_of_few_values_is_checked_on_more_images():
    builder = Builder("few values")
    x = builder.add("conv", Conv(out_channels=4, kernel_size=5), builder.input("image", (2, 5, 5)))
    x = builder.add("pool", GlobalAvgPool(), builder.add("bn", BatchNorm(), x))
    graph = builder.build({"logits": builder.add("fc", Linear(out_features=5), x)})
    for seed in range(2):
        images = stream(seed, "inputs").normal(size=(2, 2, 5, 5)).astype(np.float32)
        case = Case(graph, initialize(graph, seed), {"image": images}, FLOAT32, seed=seed)
        for outcome in run_checks(["gradient", "training"], InProcessSubject(load_backend("numpy")), case):
            assert outcome.status == "passed", outcome.message
            assert outcome.details["batch"] == 8


@pytest.mark.parametrize("size", [0.0, 3.0])
def test_a_loss_that_is_wrong_because_of_what_the_network_gives_is_not_blamed(size):
    def load(given: Loaded, moment: Moment) -> Loaded:
        late = moment.loads > 1 and "fc.bias" in given.weights
        return given._replace(weights={**given.weights, "fc.bias": given.weights["fc.bias"] + size}) if late else given

    fault = RegisteredFault(
        "test.load", "load", "a bias", lambda options, seed: None, programs=changed_programs(ProgramChange(load=load))
    )
    (found,) = run_checks(["training"], faulty_subject(load_backend("numpy"), fault), case_of())
    assert found.status == ("failed" if size else "passed")
    assert found.node != "loss", found.message


@pytest.mark.parametrize("kind", ["relu", "batch_norm", "global_avg_pool"])
def test_wrong_gradients_are_located_where_the_forward_pass_of_training_goes_wrong(kind):
    less = in_training(other_outputs(lambda layer, inputs, outputs, call: (outputs[0] * np.float32(0.999),)))
    case = case_of()
    fault = RegisteredFault("test.training", kind, "less in training", lambda options, seed: case, operation=less)
    (found,) = run_checks(["gradient"], faulty_subject(load_backend("numpy"), fault), case)
    assert found.status == "failed"
    assert case.graph.node(found.node).layer.kind == kind, found.message
    assert "the program goes wrong at" in found.message


@pytest.mark.parametrize("rate", [0.003, 0.03])
def test_a_step_that_makes_the_next_gradient_infinite_is_taken_smaller(rate):
    """The steps at the rate 0 go on from the last state, where 0 times infinity would be no number."""
    build = Builder("growing")
    x = build.add("linear", Linear(out_features=3), build.input("x", (4,)))
    x = build.add("square", Elementwise(function="square"), x)
    graph = build.build(build.add("exp", Elementwise(function="exp"), x))
    training = TrainingSteps(rates=(rate,), loss=MeanSquaredError())
    options = ProgramOptions("fast", precision("float32"))
    case = Case(graph, general_position(graph, 0), draw_inputs(graph, 0, 3), options, training=training)
    (outcome,) = run_checks(["training"], InProcessSubject(loaded_backend("numpy")), case)
    assert outcome.status == "passed", outcome.message
    assert max(outcome.details["learning_rates"]) < rate
