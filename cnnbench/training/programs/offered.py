"""What a plugin offers as a training program, and the programs that there are by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cnnbench import registry
from cnnbench.errors import SpecError, UnavailableError, did_you_mean

if TYPE_CHECKING:
    from cnnbench.spec.graph import Graph
    from cnnbench.spec.layers import Shape
    from cnnbench.training.programs.program import TrainingProgram


class BuildProgram(Protocol):
    """Makes a training program."""

    def __call__(self, image: Shape | None = None, /) -> TrainingProgram: ...


@dataclass(frozen=True)
class ProgramPlugin:
    """A training program by name, built only when it is used.

    Args:
        name: What suites call it.
        description: One line for listings.
        source: The paper that it follows.
        architecture: The registered network for which it is there: cells of that network train by it.
        network: The prefix under which this network stands in the program; it may be a part of that network.
        build: Makes the program for an input of that network of this shape, its own unless given.
        data: The dataset that each of its sources reads where a suite names none.
        learning_rate: Where a suite says none.
    """

    name: str
    description: str
    source: str
    architecture: str
    network: str
    build: BuildProgram
    data: Mapping[str, str] = field(default_factory=lambda: {"data": "digits"})
    learning_rate: float = 2e-4

    def require(self, graph: Graph) -> TrainingProgram:
        """The program, where it trains this graph.

        Raises:
            SpecError: It trains another one: the architecture at another image, say.
        """
        program = self.build(graph.inputs[0].shape)
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


def training_program_digest(name: str, image: Shape | None = None) -> str:
    """SHA-256 of a program's content.

    Args:
        name: Of the program.
        image: The input of the network for which it is made; None for its own.

    Raises:
        UnavailableError: There is no program of that name.
    """
    key = (name, image)
    build = offered_program(name).build
    if key not in _DIGESTS or _DIGESTS[key][0] is not build:
        from cnnbench.training.programs.serialization import program_digest

        _DIGESTS[key] = build, program_digest(build(image))
    return _DIGESTS[key][1]


_DIGESTS: dict[tuple[str, Shape | None], tuple[BuildProgram, str]] = {}  # building a program takes a while


def offered_program(name: str) -> ProgramPlugin:
    """The training program of that name; raises UnavailableError with the nearest name where there is none."""
    known = training_programs()
    if name not in known:
        raise UnavailableError(f"unknown training program {name!r}", remedy=did_you_mean(name, known))
    return known[name]
