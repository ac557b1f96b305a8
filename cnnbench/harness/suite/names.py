"""Finds the names in a suite that nothing answers to: architectures, backends, modes, precisions, datasets, metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from cnnbench.errors import CnnbenchError, SuiteError, did_you_mean
from cnnbench.harness.suite.claim_settings import wrong_claims
from cnnbench.harness.suite.matrix import Axes
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.recipes import Component, Recipe, Train
from cnnbench.harness.suite.trainings import as_suite_error, require_fitting, wrong_programs

Path = tuple[str | int, ...]


def wrong_names(suite: Suite) -> Iterator[tuple[Path, SuiteError]]:
    """(path within the suite, error) for each name that is not known, with the nearest one that is."""
    for number, block in enumerate(suite.matrix):
        yield from _in_axes(block, ("matrix", number))
        for index, axes in enumerate(block.include):
            yield from _in_axes(axes, ("matrix", number, "include", index))
    if suite.train is not None:
        every = [axes for block in suite.matrix for axes in (block, *block.include)]
        asked = dict.fromkeys(name for axes in every for name in axes.architectures or ())
        yield from _unknown("architecture in the matrix", suite.train.architectures, asked, ("train", "architectures"))
        yield from _wrong_dataset(suite.train.data, ("train", "data"))
        yield from _wrong_trainings(suite.train)
    yield from wrong_programs(suite)
    yield from wrong_claims(suite.claims)
    if suite.gates.metrics is not None and suite.gates.metrics.margins:
        from cnnbench.training.metrics.registry import image_metrics

        known = image_metrics()
        for name in suite.gates.metrics.margins.keys() - known.keys():
            yield ("gates", "metrics", "margins", name), _error("metric", name, known)


def _in_axes(axes: Axes, path: Path) -> Iterator[tuple[Path, SuiteError]]:
    from cnnbench.execution.backends import backend_plugins
    from cnnbench.execution.precision import PRECISIONS
    from cnnbench.porting.references import is_of_file, parse_reference
    from cnnbench.registry import architectures

    names = axes.architectures or ()
    known = [*architectures(), *(name for name in names if is_of_file(name) or parse_reference(name))]
    yield from _unknown("architecture", names, known, (*path, "architectures"))
    plugins = backend_plugins()
    for index, choice in enumerate(axes.backends or ()):
        here = (*path, "backends", index)
        if choice.name not in plugins:
            yield (*here, "name"), _error("backend", choice.name, plugins)
        else:
            plugin = plugins[choice.name]
            modes = (*plugin.modes, *plugin.native_modes)
            yield from _unknown(f"{choice.name} mode", choice.mode or (), modes, (*here, "mode"))
    yield from _unknown("precision", axes.precision or (), PRECISIONS, (*path, "precision"))
    if axes.data is not None:
        yield from _wrong_dataset(axes.data, (*path, "data"))


def _wrong_dataset(name: str, path: Path) -> Iterator[tuple[Path, SuiteError]]:
    from cnnbench.training.data import dataset

    try:
        dataset(name)
    except CnnbenchError as error:
        yield path, as_suite_error(error)


def _wrong_parts(part: Train | Recipe, path: Path) -> Iterator[tuple[Path, SuiteError]]:
    """An unknown kind or field of a loss, an optimiser or a schedule, found by making it.

    Args:
        part: The settings of trainings, or what a recipe says of them.
        path: Where that is.
    """
    from cnnbench.spec.initializers import known_initializer
    from cnnbench.spec.losses import loss_from_fields
    from cnnbench.spec.optimizers import optimizer_from_fields
    from cnnbench.training.schedules import schedule_from_fields

    makers: dict[str, Callable[[str, dict[str, Any]], object]] = {
        "optimizer": optimizer_from_fields,
        "loss": loss_from_fields,
        "schedule": schedule_from_fields,
    }
    found: list[tuple[Path, Callable[[], object]]] = []
    if (name := part.initializer) is not None:
        found.append(((*path, "initializer"), partial(known_initializer, name)))
    for axis, make in makers.items():
        given: Component | tuple[Component, ...] | None = getattr(part, axis)
        for number, one in enumerate(given if isinstance(given, tuple) else (given,)):
            place = (*path, axis, number) if isinstance(given, tuple) else (*path, axis)
            if one is not None:
                found.append((place, partial(make, one.kind, one.fields)))
    for place, attempt in found:
        try:
            attempt()
        except CnnbenchError as error:
            yield place, as_suite_error(error)


def _wrong_trainings(train: Train) -> Iterator[tuple[Path, SuiteError]]:
    """Wrong parts of the training and of its recipes; where there are none, parts that do not go together."""
    wrong = list(_wrong_parts(train, ("train",)))
    for number, recipe in enumerate(train.recipes):
        wrong += _wrong_parts(recipe, ("train", "recipes", number))
    yield from wrong
    if wrong:
        return
    for way in train.trainings():
        try:
            require_fitting(way.settings)
        except CnnbenchError as error:
            yield ("train",) if way.place is None else ("train", "recipes", way.place), as_suite_error(error)


def _unknown(what: str, names: Iterable[str], known: Iterable[str], path: Path) -> Iterator[tuple[Path, SuiteError]]:
    options = list(known)
    for index, name in enumerate(names):
        if name not in options:
            yield (*path, index), _error(what, name, options)


def _error(what: str, name: str, known: Iterable[str]) -> SuiteError:
    return SuiteError(f"unknown {what} {name!r}", remedy=did_you_mean(name, known))


def recordable(path: str) -> str:
    """The path, where a record can hold it. Raises SuiteError."""
    try:
        path.encode()
    except UnicodeEncodeError:
        remedy = "rename the folder"
        raise SuiteError("a path that is no UTF-8 fits no record", received=ascii(path), remedy=remedy) from None
    return path
