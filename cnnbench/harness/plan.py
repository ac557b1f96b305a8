"""Expands a suite into cells: what to run, in which comparison group, and what is skipped for which reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

from cnnbench.errors import CnnbenchError, SuiteError, did_you_mean
from cnnbench.execution.contract import BackendPlugin
from cnnbench.harness.networks import default_image, network
from cnnbench.harness.record import Cell, Frozen
from cnnbench.harness.selection import compile_expression
from cnnbench.harness.suite import Axes, Block, Exclusion, Suite
from cnnbench.harness.suite_names import wrong_names

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

    def groups(self) -> dict[str, tuple[Cell, ...]]:
        """The runnable cells by comparison group."""
        found: dict[str, list[Cell]] = {}
        for cell in self.runnable:
            found.setdefault(cell.group, []).append(cell)
        return {name: tuple(cells) for name, cells in found.items()}


class _Point(NamedTuple):
    """One point of the matrix: what its cell's key digests."""

    architecture: str
    image: tuple[int, ...]
    num_classes: int | None
    batch: int
    precision: str
    device: str
    threads: int | None
    data: str
    backend: str
    mode: str
    layout: str
    fold_batch_norm: bool

    @property
    def group(self) -> str:
        """The comparison group."""
        parts = [_label(self.architecture), f"b{self.batch}", "x".join(map(str, self.image)), self.precision]
        return "-".join([*parts, *self._unusual()])

    @property
    def id(self) -> str:
        """Readable and unique."""
        parts = [_label(self.architecture), self.backend, self.mode]
        parts += [] if self.layout == "auto" else [self.layout]
        parts += ["folded"] if self.fold_batch_norm else []
        parts += [f"b{self.batch}", "x".join(map(str, self.image)), self.precision]
        return "-".join([*parts, *self._unusual()])

    def _unusual(self) -> list[str]:
        parts = [] if self.data == "random" else [self.data]
        parts += [] if self.num_classes is None else [f"c{self.num_classes}"]
        parts += [] if self.device == "cpu" else [self.device.replace(":", "")]
        return parts + ([] if self.threads is None else [f"t{self.threads}"])


def plan(suite: Suite, filters: Filters | None = None) -> Plan:
    """The cells of a suite, filtered.

    A program (a cell without its batch size) is checked, and trained where the suite asks for it, in the first of its
    cells that is kept.

    Raises:
        SuiteError: A name, mode, precision or image that cannot be, or filters that leave nothing.
    """
    from cnnbench.plugins import backend_plugins

    for path, error in wrong_names(suite):
        raise error.at(".".join(map(str, path)))
    filters = filters or Filters()
    asked = _asked(suite, {name: (plugin, plugin.unavailable()) for name, plugin in backend_plugins().items()})
    kept = _shard(_once(_filtered(asked, filters, suite), suite), filters.shard)
    return Plan(suite=suite, filters=filters, cells=kept)


_Backends = dict[str, tuple[BackendPlugin, str | None]]


def _asked(suite: Suite, backends: _Backends) -> tuple[Cell, ...]:
    """Every cell of the matrix."""
    cells: dict[str, Cell] = {}
    for number, block in enumerate(suite.matrix):
        for axes in (block, *(_completed(axes, block) for axes in block.include)):
            for point in _points(axes, number, backends):
                if not any(_matches(point, exclusion) for exclusion in block.exclude):
                    cell = _cell(point, axes, suite, backends)
                    cells.setdefault(cell.id, cell)
    return tuple(cells.values())


def _completed(axes: Axes, block: Block) -> Axes:
    """An ``include`` entry with its absent axes from the block."""
    given = {name: value for name in Axes.model_fields if (value := getattr(axes, name)) is not None}
    return Axes(**{name: getattr(block, name) for name in Axes.model_fields} | given)


def _points(axes: Axes, number: int, backends: _Backends) -> Iterator[_Point]:
    """The product of the axes; the backend varies fastest, so that a comparison group stands together."""
    series = [
        (choice, mode) for choice in axes.backends or () for mode in choice.mode or backends[choice.name][0].modes[:1]
    ]
    for architecture, image in product(axes.architectures or (), axes.image or ((),)):
        shape = _image(architecture, image, axes.num_classes, f"matrix.{number}")
        rest = product(
            axes.batch or (1,), axes.precision or ("float32",), axes.device or ("cpu",), axes.threads or (None,), series
        )
        for batch, precision, device, threads, (choice, mode) in rest:
            yield _Point(
                architecture=architecture,
                image=shape,
                num_classes=axes.num_classes,
                batch=batch,
                precision=precision,
                device=device,
                threads=threads,
                data=axes.data or "random",
                backend=choice.name,
                mode=mode,
                layout=choice.layout,
                fold_batch_norm=choice.fold_batch_norm,
            )


def _label(architecture: str) -> str:
    """The architecture's part of an id: the stem of a file's name."""
    return architecture.replace("\\", "/").rpartition("/")[2].removeprefix("file:").partition(".")[0]


def _image(architecture: str, image: tuple[int, ...], num_classes: int | None, where: str) -> tuple[int, ...]:
    """The whole image shape, proven to fit by building the network (once for each shape)."""
    try:
        own = default_image(architecture)
        shape = _whole(image, own) if image else own
        network(architecture, shape, num_classes)
    except CnnbenchError as error:
        raise SuiteError(
            error.message,
            where=f"{where}.architectures: {error.where or architecture}",
            received=error.received,
            expected=error.expected,
            remedy=error.remedy,
        ) from None
    return shape


def _whole(image: tuple[int, ...], own: tuple[int, ...]) -> tuple[int, ...]:
    """(side,) as (C, side, side) with the architecture's own channels and number of axes."""
    return image if len(image) > 1 else (own[0], *image * (len(own) - 1))


def _matches(point: _Point, exclusion: Exclusion) -> bool:
    given = {name: value for name in Exclusion.model_fields if (value := getattr(exclusion, name)) is not None}
    images = given.pop("image", None)
    if images is not None and point.image not in [_whole(image, point.image) for image in images]:
        return False
    return all(getattr(point, name) in values for name, values in given.items())


def _cell(point: _Point, axes: Axes, suite: Suite, backends: _Backends) -> Cell:
    checks = suite.checks.names if axes.checks is None else axes.checks
    measure = suite.measure.names if axes.measure is None else axes.measure
    return Cell(
        id=point.id,
        key=_key(point, suite),
        group=point.group,
        **point._asdict(),
        seed=suite.seed,
        skip=_skip(point, *backends[point.backend]),
        checks=checks,
        measure=tuple(name for name in measure if name in suite.measure.names),
        train=suite.train is not None and point.architecture in suite.train.architectures,
    )


def _key(point: _Point, suite: Suite) -> str:
    """Digest of what the suite asks of the cell; how long it is measured, and how checked, is no part of it."""
    asked: dict[str, Any] = point._asdict() | {"seed": suite.seed}
    if point.architecture.startswith("file:"):
        asked["architecture"] = _label(point.architecture)  # its content is the graph's digest in the record
    if suite.train is not None and point.architecture in suite.train.architectures:
        asked["train"] = suite.train.model_dump(mode="json", exclude={"architectures", "envelope_runs"})
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def _skip(point: _Point, plugin: BackendPlugin, unavailable: str | None) -> str | None:
    """Why the cell cannot run here, as far as is known without importing a framework."""
    if unavailable is not None:
        return unavailable
    if point.precision not in plugin.precisions.get(point.mode, ()):
        return f"{point.backend} has no {point.precision} in mode {point.mode}"
    if point.device.partition(":")[0] not in plugin.devices:
        return f"{point.backend} has no device {point.device}"
    if point.layout != "auto" and point.layout not in plugin.layouts:
        return f"{point.backend} has no layout {point.layout}"
    return None


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


def _once(cells: tuple[Cell, ...], suite: Suite) -> tuple[Cell, ...]:
    """Checks and training in the first cell only of each program; layout and folding make no other training."""
    checked: set[str] = set()
    trained: set[tuple[Any, ...]] = set()
    result = []
    for cell in cells:
        axes = (cell.architecture, cell.image, cell.num_classes, cell.precision, cell.device, cell.threads, cell.series)
        program = f"{axes} {cell.layout} {cell.fold_batch_norm} {cell.data}"
        changes: dict[str, Any] = {}
        if program in checked:
            changes["checks"] = ()
        if cell.train and axes in trained:
            changes["train"] = False
        checked.add(program)
        trained.add(axes)
        result.append(cell.model_copy(update=changes) if changes else cell)
    return tuple(result)


def _shard(cells: tuple[Cell, ...], shard: tuple[int, int] | None) -> tuple[Cell, ...]:
    """Comparison groups dealt out in turn; a shard may be empty."""
    if shard is None:
        return cells
    part, parts = shard
    numbers = {group: number for number, group in enumerate(dict.fromkeys(cell.group for cell in cells))}
    return tuple(cell for cell in cells if numbers[cell.group] % parts == part - 1)
