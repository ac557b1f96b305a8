"""How a cell trains: by the suite's training loop, by a training program, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnbench.errors import CnnbenchError, DataError, SuiteError, did_you_mean
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.model import Suite, Train
from cnnbench.harness.suite.networks import network
from cnnbench.harness.suite.points import Point
from cnnbench.harness.suite.program_training import ProgramTraining, program_for

if TYPE_CHECKING:
    from cnnbench.training.programs.offered import ProgramPlugin

PROGRAM_CHECK = "program"  # among the checks of a cell that trains by a program, whatever else is checked
LOOP_LEFT_OUT = {"architectures", "envelope_runs"}
LATER_KEYS = ("initializer", "target")  # which suites did not have at first; without one, the keys of cells stay
LATER_AUGMENTATION = ("jitter", "rotation", "scale")


class AskedTraining(NamedTuple):
    """What is asked of a cell's training.

    Args:
        asked: Its settings as plain data, for keys; None where it does not train.
        data: The datasets that it needs.
        program: The name of its training program; None for the plain loop.
    """

    asked: dict[str, Any] | None = None
    data: tuple[str, ...] = ()
    program: str | None = None


def training_of(point: Point, suite: Suite) -> AskedTraining:
    """How the cell of a point trains.

    Args:
        point: Of the matrix.
        suite: With its trainings.

    Raises:
        SuiteError: Its program trains another network, or the same architecture at another image; or a classifier is
            to reach what is no accuracy.
    """
    if suite.train is not None and point.architecture in suite.train.architectures:
        unasked = {name for name in LATER_KEYS if getattr(suite.train, name) is None}
        asked = {"train": suite.train.model_dump(mode="json", exclude=LOOP_LEFT_OUT | unasked)}
        varied = asked["train"]["augmentation"]
        asked["train"]["augmentation"] = {k: v for k, v in varied.items() if v or k not in LATER_AUGMENTATION}
        _check_target(point, suite.train)
        return AskedTraining(asked, (suite.train.data,))
    found = program_for(point.architecture, suite.programs)
    if found is None:
        return AskedTraining()
    training, plugin = found
    try:
        plugin.require(network(point.architecture, point.image, point.num_classes))
    except CnnbenchError as error:
        raise as_suite_error(error).at("programs") from None
    asked = {"program": training.model_dump(mode="json")}
    return AskedTraining(asked, tuple(dict.fromkeys(training.datasets(plugin).values())), plugin.name)


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
    return 1 if cell.program is not None else suite.train.epochs if suite.train else 0


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
