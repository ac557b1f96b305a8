"""A suite's training by a program as its runner takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbench.harness.suite.trainings import cell_program

if TYPE_CHECKING:
    from cnnbench.harness.suite.cell import Cell
    from cnnbench.harness.suite.model import Suite
    from cnnbench.training.programs.runner import RoundSettings


def round_settings(cell: Cell, suite: Suite, *, batch: int | None = None) -> RoundSettings:
    """How the rounds of a cell's program run.

    Args:
        cell: That trains by a program.
        suite: With its trainings.
        batch: Images a step; None for the suite's.

    Raises:
        UnavailableError: The program is not here.
    """
    from cnnbench.training.programs.runner import RoundSettings

    training, plugin = cell_program(cell, suite)
    return RoundSettings(
        batch=batch or training.batch,
        learning_rate=training.learning_rate or plugin.learning_rate,
        seed=cell.seed,
        data=tuple(sorted(training.datasets(plugin).items())),
        train_images=training.train_images,
    )
