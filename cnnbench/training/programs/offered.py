"""What a plugin offers as a training program, and the programs that there are by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from cnnbench import registry
from cnnbench.errors import SpecError, UnavailableError, did_you_mean

if TYPE_CHECKING:
    from cnnbench.spec.graph import Graph
    from cnnbench.training.programs.program import TrainingProgram


@dataclass(frozen=True)
class ProgramPlugin:
    """A training program by name, built only when it is used.

    Args:
        name: What suites call it.
        description: One line for listings.
        source: The paper that it follows.
        architecture: The registered network for which it is there: cells of that network train by it.
        network: The prefix under which this network stands in the program; it may be a part of that network.
        build: Makes the program.
        data: The dataset that each of its sources reads where a suite names none.
        learning_rate: Where a suite says none.
    """

    name: str
    description: str
    source: str
    architecture: str
    network: str
    build: Callable[[], TrainingProgram]
    data: Mapping[str, str] = field(default_factory=lambda: {"data": "digits"})
    learning_rate: float = 2e-4

    def require(self, graph: Graph) -> TrainingProgram:
        """The program, where it trains this graph.

        Raises:
            SpecError: It trains another one: the architecture at another image, say.
        """
        program = self.build()
        shapes = program.shapes
        for spec in (*graph.named_weights(), *graph.named_state()):
            name = f"{self.network}.{spec.name}"
            if shapes.get(name) != spec.shape:
                raise SpecError(
                    f"the training program {self.name} does not train this network",
                    where=graph.name,
                    received=f"{spec.name} of shape {spec.shape}",
                    expected=f"{name} of shape {shapes[name]}" if name in shapes else f"an array of {self.network}",
                    remedy=f"take {self.architecture} at its own image size",
                )
        return program


def training_programs() -> dict[str, ProgramPlugin]:
    """Every plugin's by name, the core's own first."""
    return registry.offered("cnnbench_training_programs", ProgramPlugin)


def training_program_digest(name: str) -> str:
    """SHA-256 of a program's content. Args: name: of the program. Raises UnavailableError where it is not here."""
    return _digest(offered_program(name).build)


@cache
def _digest(build: Callable[[], TrainingProgram]) -> str:
    from cnnbench.training.programs.serialization import program_digest

    return program_digest(build())


def offered_program(name: str) -> ProgramPlugin:
    """The training program of that name; raises UnavailableError with the nearest name where there is none."""
    known = training_programs()
    if name not in known:
        raise UnavailableError(f"unknown training program {name!r}", remedy=did_you_mean(name, known))
    return known[name]
