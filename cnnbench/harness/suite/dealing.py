"""Deals out work among cells: each check, training and timing in one of those that ask for the same."""

from __future__ import annotations

from cnnbench.harness.suite.cell import Cell, Key


def checked_once(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """Each check in the first cell of its program that asks for it."""
    checked: dict[Key, set[str]] = {}
    result = []
    for cell in cells:
        done = checked.setdefault(cell.program_key, set())
        checks = tuple(name for name in cell.checks if name not in done)
        if cell.skip is None:
            done.update(checks)
        result.append(cell.model_copy(update={"checks": checks}))
    return tuple(result)


def trained_once(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """Training in the first cell of each training run."""
    trained: set[Key] = set()
    result = []
    for cell in cells:
        train = cell.train and cell.training_key not in trained
        if train and cell.skip is None:
            trained.add(cell.training_key)
        result.append(cell.model_copy(update={"train": train}))
    return tuple(result)


def measured_once(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """The timing of a program in the first of its recipes: they differ in the training step alone."""
    measured: set[Key] = set()
    result = []
    for cell in cells:
        key = (*cell.forward_key, cell.batch)
        again = cell.recipe_digest is not None and key in measured
        if cell.skip is None:
            measured.add(key)
        result.append(cell.model_copy(update={"measure": ()}) if again else cell)
    return tuple(result)


def with_work(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """Without the cells of recipes of which nothing is asked that a cell before, of another batch, is not asked for."""
    asked: dict[Key, set[str]] = {}
    result = []
    for cell in cells:
        known = cell.recipe_digest is not None and set(cell.checks) <= asked.get(cell.program_key, set())
        if cell.skip is None:
            asked.setdefault(cell.program_key, set()).update(cell.checks)
        if cell.train or cell.measure or not known:
            result.append(cell)
    return tuple(result)
