"""What a suite says of training by a program."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator

from cnnbench.harness.suite.matrix import PositiveFloat, PositiveInt, listed
from cnnbench.spec.frozen import Frozen

if TYPE_CHECKING:
    from cnnbench.training.programs.offered import ProgramPlugin


class ProgramTraining(Frozen):
    """A training by a program, of the cells whose network the program is there to train.

    Args:
        program: A name of ``cnnbench list programs``.
        data: A dataset for each that the program reads, by the program's name of it; a bare name stands for all; null
            for the program's own.
        rounds: How many; a round is one step of each phase. batch: images a step.
        learning_rate: Null for the program's own; each phase multiplies it by its factor.
        train_images: At most so many of each dataset, chosen by the seed; null for all.
    """

    program: str
    data: str | dict[str, str] | None = None
    rounds: PositiveInt = 1000
    batch: PositiveInt = 64
    learning_rate: PositiveFloat | None = None
    train_images: PositiveInt | None = None

    def datasets(self, plugin: ProgramPlugin) -> dict[str, str]:
        """The registered name of each dataset by the program's name of it. Args: plugin: of that program."""
        if self.data is None:
            return dict(plugin.data)
        return dict.fromkeys(plugin.data, self.data) if isinstance(self.data, str) else dict(self.data)


QUICK_ROUNDS = 20


def shortened(training: ProgramTraining) -> ProgramTraining:
    """As ``--quick`` has it. Args: training: of the suite."""
    return training.model_copy(update={"rounds": min(training.rounds, QUICK_ROUNDS)})


Programs = Annotated[
    tuple[ProgramTraining, ...],
    BeforeValidator(listed, json_schema_input_type=ProgramTraining | list[ProgramTraining]),
]


def program_for(
    architecture: str, trainings: Iterable[ProgramTraining]
) -> tuple[ProgramTraining, ProgramPlugin] | None:
    """The training by a program of a network, with the program; None where there is none.

    Args:
        architecture: Its registered name.
        trainings: Of the suite.

    Raises:
        UnavailableError: An unknown program.
    """
    from cnnbench.training.programs.offered import offered_program

    for training in trainings:
        plugin = offered_program(training.program)
        if plugin.architecture == architecture:
            return training, plugin
    return None
