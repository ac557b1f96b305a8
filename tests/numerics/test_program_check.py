"""The check of training programs: right ones pass, faults of phases, handover, noise and averages are located."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.checks.program import ExpectedRounds, check_program, expected_rounds, judge_rounds
from cnnbench.numerics.program_course import Taken, taken
from cnnbench.spec.composites.adversarial_loss import NonSaturatingGAN
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Add, BatchNorm, Linear
from cnnbench.spec.layers.smooth import Softplus
from cnnbench.spec.optimizers import SGD, Adam
from cnnbench.training.dataset import Dataset
from cnnbench.training.programs.program import Phase, TrainingProgram
from cnnbench.training.programs.runner import ProgramRunner, RoundSettings, compiled_on
from cnnbench.training.programs.sources import FromData, Normal

FLOAT32 = precision("float32")


def net(name: str, inputs: int, outputs: int):
    b = Builder(name)
    x = b.add("norm", BatchNorm(momentum=0.2), b.add("fc1", Linear(out_features=5), b.input("x", (inputs,))))
    return b.build({"y": b.add("fc2", Linear(out_features=outputs), b.add("soft", Softplus(), x))})


def adversaries(**sources) -> TrainingProgram:
    maker, judge = net("maker", 3, 4), net("judge", 4, 1)

    def fake(b: Builder):
        return b.embed("maker", maker, {"x": b.input("latent", (3,))})["y"]

    b = Builder("judging")
    real = b.embed("judge", judge, {"x": b.input("image", (4,))})["y"]
    made = b.embed("again", judge, {"x": fake(b)}, weights_of="judge")["y"]
    terms = b.add("real", NonSaturatingGAN(label=1.0), real), b.add("fake", NonSaturatingGAN(label=0.0), made)
    judging = b.build({"loss": b.add("loss", Add(), *terms)})
    b = Builder("making")
    fooled = b.embed("judge", judge, {"x": fake(b)})["y"]
    making = b.build({"loss": b.add("loss", NonSaturatingGAN(label=1.0), fooled)})
    phases = Phase("judge", judging, ("judge",), SGD()), Phase("maker", making, ("maker",), SGD())
    given = {"image": FromData(), "latent": Normal(), **sources}
    return TrainingProgram("adversaries", {"maker": maker, "judge": judge}, phases, given, average=0.9)


def runner(program=None, kind=ProgramRunner, name="numpy", mode="fast") -> ProgramRunner:
    images = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    data = {"data": Dataset("drawn", "train", images, np.zeros(20, np.int64), ("0",), "none")}
    backend = load_backend(name)
    compiler = compiled_on(backend, ProgramOptions(mode, FLOAT32))
    return kind(program or adversaries(), compiler, RoundSettings(batch=6, learning_rate=0.1), data)


def test_a_right_program_passes():
    found = check_program(runner(), FLOAT32, rounds=3)
    assert found.status == "passed", found.message
    assert found.details["compared"] > 150


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param("torch", "eager", marks=pytest.mark.torch),
        pytest.param("jax", "jit", marks=pytest.mark.jax),
        pytest.param("tensorflow", "graph", marks=pytest.mark.tensorflow),
    ],
)
def test_every_backend_passes(name, mode):
    pytest.importorskip(name, reason=f"needs {name}")
    found = check_program(runner(name=name, mode=mode), FLOAT32, rounds=3)
    assert found.status == "passed", found.message


class Stale(ProgramRunner):
    """The maker goes on with the judge as it was at the start."""

    is_taken = False

    def load(self, state=None) -> None:
        super().load(state)
        self.old = {name: array for name, array in self._held.items() if name.startswith("judge")}

    def take(self, number, batch) -> float:
        self.is_taken = True
        loss = super().take(number, batch)
        self.is_taken = False
        return loss

    def adopt(self, phase: Phase) -> None:
        stale = self.old if self.is_taken and phase.name == "maker" else {}
        self.steps[phase.name].adopt({**self._held, **stale})


class LateAverage(ProgramRunner):
    """The average takes the weights as they were a round before."""

    before = None

    def end_round(self) -> None:
        now = self.snapshot().arrays
        taken, self.before = self.before or self.program.initial(0), now
        self.averages = {name: 0.9 * mean + 0.1 * taken[name] for name, mean in self.averages.items()}


def with_phases(change) -> TrainingProgram:
    right = adversaries()
    return replace(right, phases=change(right.phases))


FAULTS = {
    "maker_moves_the_judge": (
        lambda: with_phases(lambda p: (p[0], replace(p[1], trained=("maker", "judge")))),
        ProgramRunner,
        "maker",
    ),
    "judge_moves_the_maker": (
        lambda: with_phases(lambda p: (replace(p[0], trained=("maker", "judge")), p[1])),
        ProgramRunner,
        "judge",
    ),
    "wrong_order": (lambda: with_phases(lambda p: (p[1], p[0])), ProgramRunner, "judge"),
    "stale_judge": (adversaries, Stale, "maker"),
    "noise_shared_by_phases": (lambda: adversaries(latent=Normal(fresh=False)), ProgramRunner, "judge"),
    "wrong_rate": (lambda: with_phases(lambda p: (p[0], replace(p[1], rate=0.9))), ProgramRunner, "maker"),
    "wrong_decay": (lambda: replace(adversaries(), average=0.91), ProgramRunner, "average"),
    "late_average": (adversaries, LateAverage, "average"),
}


QUICK = ("stale_judge",)


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in FAULTS])
def test_a_fault_is_caught_at_its_phase(name):
    program, kind, phase = FAULTS[name]
    found = check_program(runner(program(), kind), FLOAT32, runner())
    assert found.status == "failed"
    assert found.node == phase, found.message
    assert found.budget_used > 10


def test_what_is_missing_is_no_pass():
    right = runner()
    expected = expected_rounds(right, FLOAT32, 1)
    got = list(taken(runner(), 1))
    assert judge_rounds(got, expected, FLOAT32).status == "passed"
    for name, wrong in {
        "did not run": got[:-1],
        "more phases": [*got, got[-1]],
        "value is missing": [replace(got[0], values={}), *got[1:]],
        "shape": [replace(got[0], values={key: array[None] for key, array in got[0].values.items()}), *got[1:]],
    }.items():
        found = judge_rounds(wrong, expected, FLOAT32)
        assert found.status == "failed", name
        assert name in found.message


def test_what_an_update_rule_rounds_is_no_fault_and_a_hundred_times_of_it_is():
    """A bias that starts at 0 holds nothing but what Adam computed, whose roundings no perturbed gradient shows."""
    right = adversaries()
    program = replace(right, phases=tuple(replace(phase, optimizer=Adam()) for phase in right.phases))
    expected = expected_rounds(runner(program), FLOAT32, 1)
    name, judging = "judge.norm.bias", expected.exact[0]
    assert 0 < np.abs(judging.values[name]).max() <= 0.1001
    for off, status in ((6e-7, "passed"), (6e-5, "failed")):
        values = {key: np.asarray(array, np.float32) for key, array in judging.values.items()}
        values = {key: array.astype(judging.values[key].dtype) if key.endswith("/step") else array
                  for key, array in values.items()}  # fmt: skip
        values[name] = (judging.values[name] * (1 + off)).astype(np.float32)
        first = ExpectedRounds(expected.exact[:1], expected.envelopes[:1])
        found = judge_rounds([Taken(0, "judge", values)], first, FLOAT32)
        assert found.status == status, found.message
