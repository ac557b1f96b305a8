"""How a cell trains: by the suite's training loop, by a training program, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnbench.errors import CnnbenchError, DataError, SuiteError, did_you_mean
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.networks import network
from cnnbench.harness.suite.points import Point
from cnnbench.harness.suite.program_training import ProgramTraining, program_for
from cnnbench.harness.suite.recipes import Train

if TYPE_CHECKING:
    from cnnbench.training.programs.offered import ProgramPlugin

PROGRAM_CHECK = "program"  # among the checks of a cell that trains by a program, whatever else is checked


class AskedTraining(NamedTuple):
    """What is asked of a cell's training.

    Args:
        asked: Its settings as plain data, for keys; None where it does not train.
        data: The datasets that it needs.
        program: The name of its training program; None for the plain loop.
        recipe, recipe_digest: As of a cell.
    """

    asked: dict[str, Any] | None = None
    data: tuple[str, ...] = ()
    program: str | None = None
    recipe: str | None = None
    recipe_digest: str | None = None


def trainings_of(point: Point, suite: Suite) -> tuple[AskedTraining, ...]:
    """How the cells of a point train: one for each recipe.

    Args:
        point: Of the matrix.
        suite: With its trainings.

    Raises:
        SuiteError: Its program trains another network, or the same architecture at another image; or a classifier is
            to reach what is no accuracy.
    """
    if suite.train is not None and point.architecture in suite.train.architectures:
        _check_target(point, suite.train)
        return tuple(
            AskedTraining({"train": way.asked}, (way.settings.data,), recipe=way.name, recipe_digest=way.digest)
            for way in suite.train.trainings()
        )
    found = program_for(point.architecture, suite.programs)
    if found is None:
        return (AskedTraining(),)
    training, plugin = found
    try:
        plugin.require(network(point.architecture, point.image, point.num_classes))
    except CnnbenchError as error:
        raise as_suite_error(error).at("programs") from None
    asked = {"program": training.model_dump(mode="json")}
    return (AskedTraining(asked, tuple(dict.fromkeys(training.datasets(plugin).values())), plugin.name),)


def _check_target(point: Point, train: Train) -> None:
    """Refuses, before anything runs, an accuracy that no classifier reaches; other metrics are known with the data."""
    if train.target is None:
        return
    from cnnbench.training.target import require_possible_accuracy

    graph = network(point.architecture, point.image, point.num_classes)
    try:
        require_possible_accuracy(graph, train.target)
    except CnnbenchError as error:
        raise as_suite_error(error).at("train.target") from None


def loop_settings(cell: Cell, suite: Suite) -> Train | None:
    """The settings by which the training loop trains a cell's program; None where the suite does not train it so.

    Args:
        cell: Of a plan of the suite; one of several cells of its program.
        suite: With its trainings.

    Raises:
        DataError: The suite has no such recipe.
    """
    if suite.train is None or cell.program is not None:
        return None
    if not (cell.train or cell.recipe_digest is not None or cell.architecture in suite.train.architectures):
        return None
    ways = suite.train.trainings()
    if cell.recipe_digest is None:  # of a suite without recipes, or on a backend that does not train
        return ways[0].settings
    for way in ways:
        if way.digest == cell.recipe_digest:
            return way.settings
    raise DataError("the suite has no recipe with the settings of this cell", where=cell.id, received=cell.recipe)


def require_fitting(train: Train) -> None:
    """Raises SpecError where the parts of a training do not go together. Args: train: whose parts are right."""
    from cnnbench.spec.losses import loss_from_fields
    from cnnbench.spec.optimizers import optimizer_from_fields
    from cnnbench.training.augmentation import Augmentation
    from cnnbench.training.settings import TrainSettings

    TrainSettings(
        loss=loss_from_fields(train.loss.kind, train.loss.fields),
        optimizer=optimizer_from_fields(train.optimizer.kind, train.optimizer.fields),
        augmentation=Augmentation(**train.augmentation.model_dump()),
    ).require_fitting_parts()


def training_data(cell: Cell, suite: Suite) -> tuple[str, ...]:
    """The datasets that the training of a cell needs; () where it does not train.

    Args:
        cell: Of a plan of the suite.
        suite: With its trainings.

    Raises:
        UnavailableError: Its training program is not here.
    """
    if not cell.train:
        return ()
    if cell.program is None:
        return (suite.train.data,) if suite.train else ()
    training, plugin = cell_program(cell, suite)
    return tuple(training.datasets(plugin).values())


def training_units(cell: Cell, suite: Suite) -> int:
    """Units of work of a cell's training: its epochs, or one for a training by a program.

    Args:
        cell: Of a plan of the suite.
        suite: With its trainings.
    """
    if not cell.train:
        return 0
    if cell.program is not None:
        return 1
    settings = loop_settings(cell, suite)
    return 0 if settings is None else settings.epochs


def cell_program(cell: Cell, suite: Suite) -> tuple[ProgramTraining, ProgramPlugin]:
    """The training by a program of a cell that has one, with the program.

    Args:
        cell: Of a plan of the suite.
        suite: With its trainings.

    Raises:
        UnavailableError: The program is not here.
        DataError: The suite has no such training.
    """
    from cnnbench.training.programs.offered import offered_program

    for training in suite.programs:
        if training.program == cell.program:
            return training, offered_program(training.program)
    raise DataError(f"the suite does not train by the program {cell.program!r}", where=cell.id)


def wrong_programs(suite: Suite) -> Iterator[tuple[tuple[str | int, ...], SuiteError]]:
    """(path within the suite, error) for each training by a program that cannot be."""
    from cnnbench.training.data import dataset
    from cnnbench.training.programs.offered import training_programs

    known = training_programs() if suite.programs else {}
    asked = {name for block in suite.matrix for axes in (block, *block.include) for name in axes.architectures or ()}
    taken = dict.fromkeys(suite.train.architectures if suite.train else (), "train")
    for number, training in enumerate(suite.programs):
        path = ("programs", number, "program")
        plugin = known.get(training.program)
        if plugin is None:
            text = f"unknown training program {training.program!r}"
            yield path, SuiteError(text, remedy=did_you_mean(training.program, known))
            continue
        if plugin.architecture not in asked:
            text = f"the program {plugin.name} trains {plugin.architecture}, which is not in the matrix"
            yield path, SuiteError(text, remedy=f"add {plugin.architecture} to the architectures of the matrix")
        if plugin.architecture in taken:
            text = f"{plugin.architecture} is trained twice"
            yield (
                path,
                SuiteError(text, received=f"{taken[plugin.architecture]}, {plugin.name}", expected="one training"),
            )
        taken[plugin.architecture] = plugin.name
        names = training.datasets(plugin)
        if set(names) != set(plugin.data):
            text = f"the program {plugin.name} reads other datasets"
            yield (
                ("programs", number, "data"),
                SuiteError(text, received=sorted(names), expected=f"one for each of {sorted(plugin.data)}"),
            )
        for name in dict.fromkeys(names.values()):
            try:
                dataset(name)
            except CnnbenchError as error:
                yield ("programs", number, "data"), as_suite_error(error)


def as_suite_error(error: CnnbenchError) -> SuiteError:
    """The same as an error of the suite."""
    return SuiteError(error.message, received=error.received, expected=error.expected, remedy=error.remedy)
