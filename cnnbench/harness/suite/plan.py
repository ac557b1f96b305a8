"""Expands a suite into cells: what to run, in which comparison group, and what is skipped for which reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, zip_longest

from cnnbench.errors import CnnbenchError, SuiteError, did_you_mean
from cnnbench.harness.suite.asked import Names, all_axes, key_of
from cnnbench.harness.suite.availability import Availability
from cnnbench.harness.suite.cell import Cell, Key
from cnnbench.harness.suite.claim_settings import PlannedClaim, planned_claims
from cnnbench.harness.suite.dealing import checked_once, measured_once, trained_once, with_work
from cnnbench.harness.suite.labels import cell_label, group_label, uniquely_labelled
from cnnbench.harness.suite.matrix import Axes
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.names import wrong_names
from cnnbench.harness.suite.networks import graph_digest, weights_digest
from cnnbench.harness.suite.points import MOST_CELLS, Point, count_points, matches, points
from cnnbench.harness.suite.selection import compile_expression
from cnnbench.harness.suite.trainings import PROGRAM_CHECK, AskedTraining, trainings_of
from cnnbench.spec.frozen import Frozen

PLAN_SCHEMA_VERSION = 1


class Filters(Frozen):
    """Which of a suite's cells are wanted.

    Args:
        backends: Names, or ``name:mode``; () for all.
        expression: As ``-k`` has it, over cell ids.
        shard: (I, N): the I-th of N parts, counted from 1; comparison groups stay whole.
    """

    backends: tuple[str, ...] = ()
    expression: str | None = None
    shard: tuple[int, int] | None = None


class Plan(Frozen):
    """A suite and its cells in the order of the matrix."""

    schema_version: int = PLAN_SCHEMA_VERSION
    suite: Suite
    filters: Filters = Filters()
    cells: tuple[Cell, ...]

    @property
    def runnable(self) -> tuple[Cell, ...]:
        """The cells without a reason to skip them."""
        return tuple(cell for cell in self.cells if cell.skip is None)

    @property
    def claims(self) -> tuple[PlannedClaim, ...]:
        """The claims that a run tries: the first of its shards, on the backends that it is limited to.

        None where an expression chose a part of the cells, nor in an A/B run: a claim is about networks, not about
        environments.
        """
        part = self.filters.shard is not None and self.filters.shard[0] != 1
        if part or self.filters.expression is not None or any(cell.side != "head" for cell in self.cells):
            return ()
        return planned_claims(self.suite.claims, self.filters.backends)

    def groups(self) -> dict[str, tuple[Cell, ...]]:
        """The runnable cells by the label of their comparison group, which is its own."""
        found: dict[str, list[Cell]] = {}
        for cell in self.runnable:
            found.setdefault(cell.group, []).append(cell)
        return {name: tuple(cells) for name, cells in found.items()}


def plan(suite: Suite, filters: Filters | None = None, unavailable: Mapping[str, str | None] | None = None) -> Plan:
    """The cells of a suite, filtered.

    A program (a cell without its batch size) is checked, and trained where the suite asks for it, in the first of its
    cells that is kept. Each shard checks what it times; one of them trains.

    Args:
        suite: What to expand.
        filters: Which cells are wanted.
        unavailable: Why a backend cannot be used, by name, where other interpreters than this one will run it.

    Raises:
        SuiteError: A name, mode, precision or image that cannot be, or filters that leave nothing.
    """
    for path, error in wrong_names(suite):
        raise error.at(".".join(map(str, path)))
    filters = filters or Filters()
    kept = with_work(trained_once(measured_once(_filtered(_asked(suite, unavailable), filters, suite))))
    return Plan(suite=suite, filters=filters, cells=checked_once(_shard(kept, filters.shard)))


def _asked(suite: Suite, unavailable: Mapping[str, str | None] | None) -> tuple[Cell, ...]:
    """Every cell of the matrix, each once."""
    here = Availability(unavailable)
    _check_size(suite, here)
    names = Names.of(suite)
    cells: dict[str, Cell] = {}
    for number, block, axes in all_axes(suite):
        asked = [
            point
            for point in points(axes, f"matrix.{number}", here.plugins)
            if not any(matches(point, exclusion) for exclusion in block.exclude)
        ]
        for point, training in _by_recipe(asked, suite, here):
            cell = _cell(point, training, axes, suite, here, names)
            cells[cell.key] = _both(cells[cell.key], cell) if cell.key in cells else cell
    return uniquely_labelled(tuple(cells.values()))


def _by_recipe(asked: Iterable[Point], suite: Suite, here: Availability) -> Iterator[tuple[Point, AskedTraining]]:
    """Each point with each way in which it trains; the backends of a recipe stand together."""
    for _, alike in groupby(asked, key=Point.work):
        ways = [_ways(point, suite, here) for point in alike]
        yield from (found for backends in zip_longest(*ways) for found in backends if found is not None)


def _ways(point: Point, suite: Suite, here: Availability) -> list[tuple[Point, AskedTraining]]:
    """A point with the ways in which it trains; with the first of them where its backend does not train."""
    ways = trainings_of(point, suite)
    return [(point, training) for training in (ways if _trains(point, here) else ways[:1])]


def _trains(point: Point, here: Availability) -> bool:
    plugin = here.plugins[point.backend]
    return plugin.trains and point.mode not in plugin.native_modes


def _both(first: Cell, second: Cell) -> Cell:
    """One cell of two blocks that ask for the same, with everything that either wants of it."""
    checks = dict.fromkeys((*first.checks, *second.checks))
    measure = dict.fromkeys((*first.measure, *second.measure))
    return first.model_copy(update={"checks": tuple(checks), "measure": tuple(measure)})


def _check_size(suite: Suite, here: Availability) -> None:
    """Refuses a matrix that no one can run before it is expanded."""
    ways = dict.fromkeys(suite.train.architectures, suite.train.count) if suite.train else {}
    most = [(axes, max(ways.get(name, 1) for name in axes.architectures or ("",))) for _, _, axes in all_axes(suite)]
    count = sum(count_points(axes, here.plugins) * number for axes, number in most)
    if count > MOST_CELLS:
        raise SuiteError(
            f"the matrix has {count:,} cells",
            where=f"{suite.name}: matrix",
            expected=f"at most {MOST_CELLS:,} (exclusions and filters come later)",
            remedy="leave values out of its axes, or make several suites",
        )


def _cell(point: Point, training: AskedTraining, axes: Axes, suite: Suite, here: Availability, names: Names) -> Cell:
    """The cell of a point.

    Args:
        point: Of the matrix.
        training: One of the ways in which its network trains.
        axes: To which it belongs.
        suite: What is asked.
        here: What can run.
        names: How networks and files are called.
    """
    checks = suite.checks.names if axes.checks is None else axes.checks
    measure = suite.measure.names if axes.measure is None else axes.measure
    label = names.labels[point.architecture]
    trained = training if _trains(point, here) else AskedTraining()
    return Cell(
        id=cell_label(point, label, trained.recipe),
        key=key_of(point, suite.seed, training.asked, names.asked),
        group=group_label(point, label),
        network=label,
        **point._asdict(),
        seed=suite.seed,
        skip=here.skip(point, trained.data),
        checks=(*checks, PROGRAM_CHECK) if trained.program else checks,
        measure=tuple(name for name in measure if name in suite.measure.names),
        train=trained.asked is not None,
        program=trained.program,
        recipe=trained.recipe,
        recipe_digest=trained.recipe_digest,
        graph_digest=graph_digest(point.architecture, point.image, point.num_classes),
        weights_digest=weights_digest(point.architecture, point.image, point.weights),
    )


def _filtered(cells: tuple[Cell, ...], filters: Filters, suite: Suite) -> tuple[Cell, ...]:
    kept = cells
    if filters.backends:
        known = {cell.backend for cell in cells} | {f"{cell.backend}:{cell.mode}" for cell in cells}
        for name in filters.backends:
            if name not in known:
                raise SuiteError(
                    f"suite {suite.name!r} has no cell on backend {name!r}",
                    where="-b",
                    remedy=did_you_mean(name, known),
                )
        wanted = set(filters.backends)
        kept = tuple(cell for cell in kept if wanted & {cell.backend, f"{cell.backend}:{cell.mode}"})
    if filters.expression is not None:
        predicate = compile_expression(filters.expression)
        kept = tuple(cell for cell in kept if predicate(cell.id))
    if not kept:
        raise SuiteError(
            "no cell is left", where=suite.name, received=filters.expression, remedy="see 'cnnbench plan' for the ids"
        )
    return kept


def _shard(cells: tuple[Cell, ...], shard: tuple[int, int] | None) -> tuple[Cell, ...]:
    """Comparison groups dealt out in turn; a shard may be empty."""
    if shard is None:
        return cells
    part, parts = shard
    groups = dict.fromkeys(cell.comparison_group for cell in cells)
    numbers = {group: number for number, group in enumerate(groups)}
    return tuple(cell for cell in cells if numbers[cell.comparison_group] % parts == part - 1)


def two_sided(plan: Plan) -> Plan:
    """The plan with every cell on both sides of an A/B run, the base's first; its id ends in ``-base``."""
    cells: list[Cell] = []
    for cell in plan.cells:
        cells += [cell.model_copy(update={"id": f"{cell.id}-base", "side": "base"}), cell]
    return plan.model_copy(update={"cells": tuple(cells)})


def as_it_is_now(cell: Cell) -> Cell:
    """The cell with the digests of its files' present content; a file that cannot be read is the passes' to report."""
    if cell.skip is not None:
        return cell
    try:
        graph = graph_digest(cell.architecture, cell.image, cell.num_classes)
        weights = weights_digest(cell.architecture, cell.image, cell.weights)
    except CnnbenchError:
        return cell
    return cell.model_copy(update={"graph_digest": graph, "weights_digest": weights})


def with_present_files(plan: Plan) -> Plan:
    """The plan with every file as it is now.

    Cells that shared a program, of which one was checked for all, may have become two programs: where a file changed,
    checks and trainings are dealt out anew, so that no program goes unchecked.
    """
    cells = tuple(map(as_it_is_now, plan.cells))
    if cells == plan.cells:
        return plan
    checks: dict[Key, dict[str, None]] = {}
    for cell in plan.cells:
        checks.setdefault(cell.program_key, {}).update(dict.fromkeys(cell.checks))
    trained = {cell.training_key for cell in plan.cells if cell.train}
    asked = (
        now.model_copy(update={"checks": tuple(checks[cell.program_key]), "train": cell.training_key in trained})
        for cell, now in zip(plan.cells, cells, strict=True)
    )
    return plan.model_copy(update={"cells": checked_once(trained_once(tuple(asked)))})
