"""Runs a training program on one backend: phases in turn, arrays handed over on the device, averages on the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.compiled import NativeArray, StepProgram
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.host import SlotName
from cnnbench.spec.losses import Objective
from cnnbench.spec.weights import split_state
from cnnbench.training.dataset import Dataset
from cnnbench.training.programs.program import Phase, TrainingProgram

Array = NDArray[Any]
CompilePhase = Callable[[Phase], StepProgram]


@dataclass(frozen=True)
class ProgramState:
    """Everything that a training program holds between rounds, on the host.

    Args:
        arrays: Weights and running statistics of all networks by full name.
        slots: Of each phase's optimiser, by phase.
        averages: The moving averages of trained weights in float64; empty without.
    """

    arrays: dict[str, Array]
    slots: dict[str, dict[SlotName, Array]] = field(default_factory=dict)
    averages: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class RoundSettings:
    """How rounds run.

    Args:
        batch: Images a phase.
        learning_rate: Multiplied by each phase's own factor.
        seed: Of weights, batches, noise and masks.
        data: (name in the program, registered name) of each dataset.
        train_images: At most so many of each dataset, chosen by the seed; None for all.
    """

    batch: int = 32
    learning_rate: float = 0.01
    seed: int = 0
    data: tuple[tuple[str, str], ...] = ()
    train_images: int | None = None


def compiled_on(backend: Backend, options: ProgramOptions) -> CompilePhase:
    """What compiles a phase's step program on a backend.

    Args:
        backend: The backend.
        options: How its programs run.
    """

    def compile_phase(phase: Phase) -> StepProgram:
        how = replace(options, training=True, fold_batch_norm=False, trained=phase.weights)
        return backend.compile_step(phase.graph, how, Objective(), phase.optimizer)

    return compile_phase


class ProgramRunner:
    """A training program on one backend.

    Args:
        program: The program.
        compile_phase: Compiles the step program of a phase.
        settings: How rounds run.
        data: The datasets that sources name.
    """

    def __init__(
        self,
        program: TrainingProgram,
        compile_phase: CompilePhase,
        settings: RoundSettings,
        data: Mapping[str, Dataset],
    ) -> None:
        self.program, self.settings, self.data = program, settings, data
        self._compile = compile_phase
        self.averages: dict[str, Array] = {}
        self._held: dict[str, NativeArray] = {}
        self._rest: dict[str, Array] = {}

    @cached_property
    def steps(self) -> dict[str, StepProgram]:
        """The step program of each phase, compiled when it is first needed."""
        return {phase.name: self._compile(phase) for phase in self.program.phases}

    def load(self, state: ProgramState | None = None) -> None:
        """Starts from a state; None: from the initial weights of the settings' seed."""
        found = state or ProgramState(self.program.initial(self.settings.seed))
        self._held, self._rest = {}, dict(found.arrays)
        for phase in self.program.phases:
            specs = (*phase.graph.named_weights(), *phase.graph.named_state())
            own = {spec.name: found.arrays[spec.name] for spec in specs}
            step = self.steps[phase.name]
            step.load(*split_state(phase.graph, own), found.slots.get(phase.name))
            self._held.update(step.arrays())
        self.averages = {}
        if self.program.average is not None:
            start = found.averages or {name: found.arrays[name] for name in self.program.trained}
            self.averages = {name: np.asarray(array, np.float64) for name, array in start.items()}

    def batch(self, number: int, at: int) -> dict[str, Array]:
        """The inputs and masks of a phase in a round."""
        return self.program.batch(number, self.settings.batch, self.data, self.settings.seed, at)

    def adopt(self, phase: Phase) -> None:
        """Gives a phase's program what the phases before it left."""
        self.steps[phase.name].adopt(self._held)

    def take(self, number: int, batch: Mapping[str, Array]) -> float:
        """One step of a phase; returns its loss before the step."""
        phase = self.program.phases[number]
        step = self.steps[phase.name]
        self.adopt(phase)
        loss = step.loss(step.run(step.upload(batch), self.settings.learning_rate * phase.rate))
        self._held.update(step.arrays())
        return loss

    def end_round(self) -> None:
        """Moves the averages."""
        decay = self.program.average
        if decay is None:
            return
        arrays = self.snapshot().arrays
        for name, mean in self.averages.items():
            self.averages[name] = decay * mean + (1 - decay) * np.asarray(arrays[name], np.float64)

    def round(self, at: int) -> dict[str, float]:
        """One step of each phase; returns the losses by phase. ``at`` counts rounds from 0."""
        losses = {phase.name: self.take(i, self.batch(i, at)) for i, phase in enumerate(self.program.phases)}
        self.end_round()
        return losses

    def snapshot(self) -> ProgramState:
        """What is held now, on the host."""
        arrays, slots = dict(self._rest), {}
        for phase in self.program.phases:
            self.adopt(phase)
            found = self.steps[phase.name].snapshot()
            arrays.update({**found.weights, **found.state})
            slots[phase.name] = found.slots
        return ProgramState(arrays, slots, dict(self.averages))


def train_program(runner: ProgramRunner, rounds: int) -> Iterator[dict[str, float]]:
    """Loads the initial weights and runs rounds as they are asked for; yields each one's losses by phase.

    Args:
        runner: Of the program.
        rounds: How many.
    """
    runner.load()
    for at in range(rounds):
        yield runner.round(at)
