"""What cells run on: graph, weights and inputs, made once from the seed and handed to workers as files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbench.errors import DataError
from cnnbench.execution.backends import backend_plugins
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.harness.passes.findings import Digests
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.networks import given_arrays, network, weights_digest
from cnnbench.harness.worker.arrays import read_arrays, write_arrays
from cnnbench.harness.worker.scratch import scratch_prefix
from cnnbench.porting.native import own_program
from cnnbench.spec.draws import draw_inputs
from cnnbench.spec.weights import digest, general_position
from cnnbench.training.programs.offered import offered_program
from cnnbench.training.programs.serialization import program_digest
from cnnbench.training.starts import WeightStart, started

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnbench.spec.graph import Graph
    from cnnbench.training.programs.program import TrainingProgram

RANDOM = "random"
LEAST_STOCK = 8  # images


@dataclass(frozen=True)
class Material:
    """A cell's network and operands.

    Args:
        arrays, batch: Files of weights with running statistics, and of inputs by name, for checks, timing and memory:
            weights in general position where none are given.
        start: The file of the weights that training starts from.
        options: Of the program that is timed.
        program: The training program by which the cell trains; ``start`` then holds the arrays of all its networks.
    """

    graph: Graph
    arrays: Path
    start: Path
    batch: Path
    options: ProgramOptions
    digests: Digests
    program: TrainingProgram | None = None


class Materials:
    """Makes the material of cells, each file once; removed with ``close``.

    Args:
        starts: How the weights of a cell's training start where the suite gives none.
    """

    def __init__(self, starts: Callable[[Cell], WeightStart] = lambda cell: WeightStart()) -> None:
        self._starts = starts
        self._folder = tempfile.TemporaryDirectory(prefix=scratch_prefix("material"))
        self._given: dict[tuple[object, ...], tuple[Path, str] | None] = {}
        self._drawn: dict[tuple[object, ...], tuple[Path, str]] = {}
        self._batches: dict[tuple[object, ...], tuple[Path, str]] = {}
        self._stocks: dict[tuple[object, ...], Path | None] = {}
        self.memo: dict[tuple[object, ...], Any] = {}  # what passes work out of it, for those that follow

    def of(self, cell: Cell) -> Material:
        """The material of a cell. Raises CnnbenchError where there is none: no dataset, a bad or changed file."""
        graph = _planned(cell)
        arrays, weights_digest = self._weights_of(graph, cell)
        program = None if cell.program is None or not cell.train else self._program_of(graph, cell.program)
        start, start_digest = arrays, weights_digest
        if program is not None:
            start, start_digest = self._start_of(program, cell.seed)
        elif cell.train:
            start, start_digest = self._weights_of(graph, cell, self._starts(cell))
        batch, inputs_digest = self._batch_of(graph, cell, cell.batch)
        options = _options(cell, graph, arrays)
        digests = Digests(
            graph=graph.digest,
            weights=weights_digest,
            inputs=inputs_digest,
            start=start_digest if cell.train else None,
            program=None if program is None else program_digest(program),
        )
        return Material(graph, arrays, start, batch, options, digests, program)

    def inputs(self, cell: Cell, count: int) -> dict[str, NDArray[Any]]:
        """``count`` images of the cell's data, by input name."""
        return read_arrays(self.inputs_file(cell, count))

    def inputs_file(self, cell: Cell, count: int) -> Path:
        """The file of ``inputs``."""
        return self._batch_of(_planned(cell), cell, count)[0]

    def stock(self, cell: Cell, known: int) -> Path | None:
        """The file of the images that a cell is timed on: those of a check, then enough others.

        Where few fit into a batch there are mirrored ones too, so that many a call is on an image of its own.

        Args:
            cell: Whose data they are.
            known: Images of a check.

        Returns:
            None for a network that takes no batch.
        """
        import numpy as np

        graph = _planned(cell)
        names = [item.name for item in graph.inputs if item.batched]
        key = (graph.inputs, cell.data, cell.seed, known, cell.batch)
        if key not in self._stocks:
            path = Path(self._folder.name) / f"stock-{len(self._stocks)}.safetensors"
            if names:
                first, others = self.inputs(cell, known), self.inputs(cell, max(cell.batch, LEAST_STOCK))
                stock = {name: [first[name], others[name]] for name in names}
                for axis in (-1, -2) if cell.batch < LEAST_STOCK else ():
                    for parts in stock.values():
                        parts.append(np.flip(parts[1], axis) if parts[1].ndim > 2 else parts[1])
                write_arrays(path, {name: np.concatenate(parts) for name, parts in stock.items()})
            self._stocks[key] = path if names else None
        return self._stocks[key]

    def close(self) -> None:
        """Removes the files."""
        self._folder.cleanup()

    def _weights_of(self, graph: Graph, cell: Cell, start: WeightStart | None = None) -> tuple[Path, str]:
        """The file of the weights to examine, or of those that training starts from, and its digest."""
        source = (graph.digest, cell.architecture, cell.weights, cell.weights_digest)
        if source not in self._given:
            _check_content(cell.weights_digest, weights_digest(cell.architecture, cell.image, cell.weights), cell)
            arrays = given_arrays(cell.architecture, graph, cell.image, cell.weights)
            self._given[source] = None if arrays is None else self._written(arrays)
        given = self._given[source]
        if given is not None:
            return given
        key = (graph.digest, cell.seed, start and (start.rule, start.data))
        if key not in self._drawn:
            arrays = general_position(graph, cell.seed) if start is None else started(graph, cell.seed, start)[0]
            self._drawn[key] = self._written(arrays)
        return self._drawn[key]

    def _program_of(self, graph: Graph, name: str) -> TrainingProgram:
        """The training program of a network, built once."""
        key = ("training program", name, graph.digest)
        if key not in self.memo:
            self.memo[key] = offered_program(name).require(graph)
        found: TrainingProgram = self.memo[key]
        return found

    def _start_of(self, program: TrainingProgram, seed: int) -> tuple[Path, str]:
        """The file of the initial arrays of a program's networks, and their digest."""
        key = ("training program", program_digest(program), seed)
        if key not in self._drawn:
            self._drawn[key] = self._written(program.initial(seed))
        return self._drawn[key]

    def _written(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[Path, str]:
        path = Path(self._folder.name) / f"weights-{len(self._given)}-{len(self._drawn)}.safetensors"
        write_arrays(path, arrays)
        return path, digest(arrays)

    def _batch_of(self, graph: Graph, cell: Cell, count: int) -> tuple[Path, str]:
        key = (graph.inputs, cell.data, cell.seed, count)
        if key not in self._batches:
            arrays = batch_inputs(graph, cell.data, cell.seed, count)
            path = Path(self._folder.name) / f"batch-{len(self._batches)}.safetensors"
            write_arrays(path, arrays)
            self._batches[key] = (path, digest(arrays))
        return self._batches[key]


def _planned(cell: Cell) -> Graph:
    """The cell's network. Raises DataError where it is not the one that was planned."""
    graph = network(cell.architecture, cell.image, cell.num_classes)
    _check_content(cell.graph_digest, graph.digest, cell)
    return graph


def _check_content(planned: str | None, found: str | None, cell: Cell) -> None:
    if planned not in (None, found):
        raise DataError(
            "the file has changed since the run was planned",
            where=cell.architecture if cell.weights is None else f"{cell.architecture}, {cell.weights}",
            received=found,
            expected=planned,
            remedy="leave it as it is while the run goes on; --resume measures the changed cells again",
        )


def batch_inputs(graph: Graph, data: str, seed: int, count: int) -> dict[str, NDArray[Any]]:
    """Inputs by name, float32: seeded normal numbers, or test images of a dataset, repeated as needed.

    Inputs after the first, and those that take no batch, are random in any case.

    Args:
        graph: Whose inputs they are.
        data: ``random``, or the name of a dataset.
        seed: Of the random numbers, and of the choice of images.
        count: How many images a batch holds.
    """
    inputs = draw_inputs(graph, seed, count)
    if data != RANDOM:
        from cnnbench.training.data import batch_of

        first = graph.inputs[0]
        inputs[first.name] = batch_of(data, first.shape, count, seed, input_name=first.name)[first.name]
    return inputs


def _options(cell: Cell, graph: Graph, arrays: Path) -> ProgramOptions:
    """The options of a cell's program; in a native mode with the user's own program."""
    plugin, policy = backend_plugins().get(cell.backend), precision(cell.precision)
    mode, own = cell.mode, None
    if plugin is not None and cell.mode in plugin.native_modes:
        mode = plugin.base_mode(cell.mode)
        held = (graph, read_arrays(arrays))
        own = own_program(cell.architecture, plugin.native_modes[cell.mode], policy, held, cell.image)
    return ProgramOptions(
        mode=mode,
        precision=policy,
        layout=cell.layout,  # type: ignore[arg-type]
        fold_batch_norm=cell.fold_batch_norm,
        own=own,
    )
