"""The exclusions of a suite that leave nothing out, such as for a misspelt name: they are refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cnnbench.errors import SuiteError, did_you_mean
from cnnbench.harness.suite.asked import all_axes
from cnnbench.harness.suite.matrix import Exclusion
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.points import MOST_CELLS, Point, count_points, matches, points

Path = tuple[str | int, ...]


def idle_exclusions(suite: Suite) -> Iterator[tuple[Path, SuiteError]]:
    """(path within the suite, error) for each exclusion, or value of one, that no cell has.

    A matrix that is too large to be expanded is not searched.
    """
    from cnnbench.execution.backends import backend_plugins

    plugins = backend_plugins()
    for number, block in enumerate(suite.matrix):
        every = [axes for other, _, axes in all_axes(suite) if other == number]
        if not block.exclude or sum(count_points(axes, plugins) for axes in every) > MOST_CELLS:
            continue
        found = [point for axes in every for point in points(axes, f"matrix.{number}", plugins)]
        for index, exclusion in enumerate(block.exclude):
            for more, error in _idle(exclusion, found):
                yield ("matrix", number, "exclude", index, *more), error


def _idle(exclusion: Exclusion, found: Sequence[Point]) -> Iterator[tuple[Path, SuiteError]]:
    given = {name: values for name in Exclusion.model_fields if (values := getattr(exclusion, name)) is not None}
    for name, values in given.items():
        for value in values:
            if not any(matches(point, Exclusion.model_validate({name: (value,)})) for point in found):
                message = f"no cell of the block has the {name} {value!r} that is to be left out"
                known = {str(getattr(point, name)) for point in found}
                yield (name,), SuiteError(message, remedy=did_you_mean(str(value), known))
                return
    if not any(matches(point, exclusion) for point in found):
        message = "no cell of the block has all that is to be left out together, so that none is left out"
        yield (), SuiteError(message, remedy="remove this exclusion, or correct it")
