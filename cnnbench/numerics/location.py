"""Where a program goes wrong: prefixes of it, compiled as it is, are compared with what their values should be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.contract import ProgramOptions
from cnnbench.numerics.budgets import Budget
from cnnbench.numerics.comparison import Comparison, Place, compare
from cnnbench.numerics.divergence import ReproducerSource, Reproduction
from cnnbench.numerics.quantity import Quantity
from cnnbench.numerics.subject import Subject
from cnnbench.numerics.teacher_forcing import output_names, producers
from cnnbench.spec.graph import Graph, Input, Node
from cnnbench.spec.passes import foldable_batch_norms

Array = NDArray[Any]
Truths = Callable[[str], tuple[Array, Budget]]


@dataclass(frozen=True)
class BisectedProgram:
    """A program and its operands, and what each value of it should be.

    Args:
        graph: The network, composites lowered.
        arrays: Weights and running statistics.
        batch: Inputs.
        options: How it is compiled, and each part of it.
        truth: A value's right array and the error that is admitted there.
        form: Of the budget.
    """

    graph: Graph
    arrays: Mapping[str, Array]
    batch: Mapping[str, Array]
    options: ProgramOptions
    truth: Truths
    form: str


@dataclass(frozen=True)
class WrongNodes:
    """The first nodes at which a program goes wrong.

    Args:
        nodes: One node, or those that are compiled as one: a convolution and the batch norm that is folded into it.
        failure: The value that is wrong.
        part: The smallest part of the program that shows it: (graph, inputs).
        alone: Whether these nodes show it on right operands.
        compiles: How many programs were compiled.
    """

    nodes: tuple[str, ...]
    failure: Comparison
    part: tuple[Graph, Mapping[str, Array]]
    alone: bool
    compiles: int

    @property
    def text(self) -> str:
        """Where, in words."""
        names = " with ".join(self.nodes)
        count = len(self.part[0].nodes)
        if self.alone:
            return f"{names}, also alone on right operands"
        return f"{names}, in a program of the {count} nodes up to there and not in fewer"


def locate(subject: Subject, program: BisectedProgram) -> WrongNodes | None:
    """Bisects a program that gives wrong values by its prefixes; None where none of them, not even the whole, does.

    For example, of 64 nodes the first 32 are compiled, with the options of the whole and with the values that the rest
    reads as outputs. Where these are right, the first 48 are next, and so on: six or seven programs say after which
    node the values are wrong. A convolution is never parted from the batch norm that is folded into it. Then the last
    nodes of that prefix run alone on right operands, one, two, four ...: the fewest that show it reproduce it.

    Args:
        subject: Whose program it is.
        program: That gave wrong values.
    """
    search = _Search(subject, program)
    ends = search.ends
    low, high = 0, len(ends)  # right after ends[low - 1], wrong after ends[high - 1]
    failures = {high: search.wrong_after(ends[-1])}
    if failures[high] is None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        failures[middle] = search.wrong_after(ends[middle - 1])
        low, high = (low, middle) if failures[middle] is not None else (middle, high)
    failure = failures[high]
    assert failure is not None
    begin = ends[high - 2] if high > 1 else 0
    nodes = tuple(node.name for node in program.graph.nodes[begin : ends[high - 1]])
    count = 1
    while count <= high:
        start = ends[high - count - 1] if high > count else 0
        found = search.wrong_between(start, ends[high - 1])
        if found is not None:
            return WrongNodes(nodes, found[0], found[1], count == 1, search.compiles)
        count *= 2
    return WrongNodes(nodes, failure, search.prefix(ends[high - 1]), False, search.compiles)


class _Search:
    """The parts of a program, compiled and compared."""

    def __init__(self, subject: Subject, program: BisectedProgram) -> None:
        self._subject, self._program = subject, program
        self._readers = program.graph.consumers()
        self._shown = {value for _, value in program.graph.outputs}
        self._shapes = program.graph.shapes(_images(program))
        self.compiles = 0
        self.ends = self._ends()

    def _ends(self) -> list[int]:
        """After how many nodes the program may be cut: not between a convolution and what is folded into it."""
        graph = self._program.graph
        folded = foldable_batch_norms(graph) if self._program.options.fold_batch_norm else {}
        place = {node.name: i for i, node in enumerate(graph.nodes)}
        closed = {i for norm, conv in folded.items() for i in range(place[conv] + 1, place[norm] + 1)}
        return [count for count in range(1, len(graph.nodes) + 1) if count not in closed]

    def prefix(self, end: int) -> tuple[Graph, Mapping[str, Array]]:
        """The first nodes with the program's own inputs."""
        graph = self._program.graph
        kept = graph.nodes[:end]
        return replace(graph, nodes=kept, outputs=self._outputs(kept, end)), self._program.batch

    def _outputs(self, kept: Sequence[Node], end: int) -> tuple[tuple[str, str], ...]:
        graph = self._program.graph
        later = {node.name for node in graph.nodes[end:]}
        values = [v for node in kept for v in output_names(graph, node)]
        read = [
            v
            for v in values
            if v in self._shown or any(n.name in later for n in self._readers.get(v, ())) or end == len(graph.nodes)
        ]
        chosen = [v for v in read if v in self._shown] if end == len(graph.nodes) else read
        return tuple((value, value) for value in chosen)

    def wrong_after(self, end: int) -> Comparison | None:
        """The first value that the rest of the program reads and that is wrong after its first nodes."""
        graph, batch = self.prefix(end)
        return self._first_wrong(graph, batch)

    def wrong_between(self, start: int, end: int) -> tuple[Comparison, tuple[Graph, Mapping[str, Array]]] | None:
        """The same of nodes that are given right operands, and their program."""
        graph = self._program.graph
        kept = graph.nodes[start:end]
        made = {value for node in kept for value in output_names(graph, node)}
        read = dict.fromkeys(value for node in kept for value in node.inputs if value not in made)
        names = {value: value.replace(":", ".output") for value in read}
        inputs = tuple(Input(names[value], self._shapes[value], graph.dtypes[value], batched=False) for value in read)
        nodes = tuple(replace(node, inputs=tuple(names.get(value, value) for value in node.inputs)) for node in kept)
        part = Graph(graph.name, inputs, nodes, self._outputs(kept, end))
        batch = {names[value]: self._operand(value) for value in read}
        failure = self._first_wrong(part, batch)
        return None if failure is None else (failure, (part, batch))

    def _operand(self, value: str) -> Array:
        if value in self._program.batch:
            return self._program.batch[value]
        exact = self._program.truth(value)[0]
        return exact if exact.dtype.kind in "iu" else exact.astype(_host(self._program))

    def _first_wrong(self, graph: Graph, batch: Mapping[str, Array]) -> Comparison | None:
        program = self._program
        self.compiles += 1
        wanted = {spec.name for spec in (*graph.named_weights(), *graph.named_state())}
        arrays = {name: array for name, array in program.arrays.items() if name in wanted}
        got = self._subject.forward(graph, arrays, batch, program.options).outputs
        makers = producers(graph)
        for name, value in graph.outputs:
            node = graph.node(makers[value])
            exact, budget = program.truth(value)
            index = output_names(graph, node).index(value)
            place = Place(node.name, node.layer.kind, Quantity.output(index), program.form)
            found = compare(place, got.get(name), exact, budget, program.options.precision)
            if found.problem is not None or not found.use.sharp_used <= 1:
                return found
        return None


def _images(program: BisectedProgram) -> int:
    return next((len(program.batch[item.name]) for item in program.graph.inputs if item.batched), 1)


def _host(program: BisectedProgram) -> Any:
    return np.float64 if program.options.precision.storage == "float64" else np.float32


def source_of(check: str, program: BisectedProgram, found: WrongNodes, folder: Any) -> ReproducerSource:
    """What makes the report of a located failure and the file that reproduces it.

    Args:
        check: The check's name.
        program: That was bisected.
        found: Where it goes wrong.
        folder: Where the file goes; None for nowhere.
    """
    graph, batch = found.part
    wanted = {spec.name for spec in (*graph.named_weights(), *graph.named_state())}

    def reproduction(name: str, quantity: Quantity) -> Reproduction:
        value = output_names(graph, graph.node(name))[quantity.index]
        exact, budget = program.truth(value)
        return Reproduction(
            graph=graph,
            arrays={key: array for key, array in program.arrays.items() if key in wanted},
            batch=batch,
            options=program.options,
            gradient=False,
            result=value,
            exact=exact,
            budget=Budget(*(np.broadcast_to(b, exact.shape) for b in budget)),
        )

    notes = (f"  located   {found.text} ({found.compiles} programs were compiled)",)
    return ReproducerSource(check, program.graph, _images(program), reproduction, folder, notes)
