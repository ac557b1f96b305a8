"""Where a program goes wrong: prefixes of it, compiled as it is, are compared with what their values should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.contract import ProgramOptions
from cnnbench.numerics.budgets import Budget
from cnnbench.numerics.comparison import Comparison, Place, compare
from cnnbench.numerics.memoizing import MemoizingSubject
from cnnbench.numerics.quantity import Quantity
from cnnbench.numerics.session import OpensSessions
from cnnbench.numerics.steps_done import StepsDone
from cnnbench.numerics.subject import Subject
from cnnbench.numerics.teacher_forcing import output_names, producers
from cnnbench.spec.graph import Graph, Input, Node
from cnnbench.spec.layers.arithmetic import Affine, Clip
from cnnbench.spec.passes import foldable_batch_norms

Array = NDArray[Any]
COPIES = (Affine(), Clip(minimum=-(2.0**127)))  # two: the op of one may be what is wrong
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
        recording: What was done to a kept program until it gave wrong values, where one pass does not.
        seen: (got, exact) -> what is compared, where ``got`` may be right and another value.
    """

    graph: Graph
    arrays: Mapping[str, Array]
    batch: Mapping[str, Array]
    options: ProgramOptions
    truth: Truths
    form: str
    recording: StepsDone | None = None
    seen: Callable[[Array, Array], Array] = lambda got, exact: got

    @property
    def images(self) -> int:
        """In the batch; 1 where no input is batched."""
        return next((len(self.batch[item.name]) for item in self.graph.inputs if item.batched), 1)


@dataclass(frozen=True)
class WrongNodes:
    """The first nodes at which a program goes wrong.

    Args:
        nodes: One node, or those that are compiled as one: a convolution and the batch norm that is folded into it. An
            input, where a program that only copies it is wrong.
        failure: The value that is wrong.
        part: The smallest part of the program that shows it: (graph, inputs).
        alone: Whether these nodes show it on right operands.
        compiles: How many programs were compiled.
        output: The name under which the program gives the value, where it is right under another one.
    """

    nodes: tuple[str, ...]
    failure: Comparison
    part: tuple[Graph, Mapping[str, Array]]
    alone: bool
    compiles: int
    output: str | None = None

    @property
    def is_of_input(self) -> bool:
        """Whether what is uploaded, kept or given back is wrong, and no node."""
        return any(item.name in self.nodes for item in self.part[0].inputs)

    @property
    def text(self) -> str:
        """Where, in words."""
        names = " with ".join(self.nodes)
        count = len(self.part[0].nodes)
        if self.is_of_input:
            return f"input {names}, before any node: a program that only copies it gives other values too"
        if self.output is not None:
            return f"{names}, as output {self.output} and under no other name"
        if self.alone:
            return f"{names}, also alone on right operands"
        return f"{names}, in a program of the {count} nodes up to there and not in fewer"


def locate(subject: Subject, program: BisectedProgram) -> WrongNodes | None:
    """Bisects a program that gives wrong values by its prefixes; None where none of them, not even the whole, does.

    For example, of 64 nodes the first 32 are compiled, with the options of the whole and with the values that the rest
    reads as outputs. Where these are right, the first 48 are next, and so on: six or seven programs say after which
    node the values are wrong. A convolution is never parted from the batch norm that is folded into it. Then the last
    nodes of that prefix run alone on right operands, one, two, four ...: the fewest that show it reproduce it.

    Where a program that only copies an input is wrong, that is it. A recording is done again to each of these programs.

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
    if (copied := search.wrong_copy()) is not None:
        return copied
    while high - low > 1:
        middle = (low + high) // 2
        failures[middle] = search.wrong_after(ends[middle - 1])
        low, high = (low, middle) if failures[middle] is not None else (middle, high)
    failure = failures[high]
    assert failure is not None
    begin = ends[high - 2] if high > 1 else 0
    nodes = tuple(node.name for node in program.graph.nodes[begin : ends[high - 1]])
    part = search.prefix(ends[high - 1])
    if (output := search.wrong_name(part[0])) is not None:
        return WrongNodes(nodes, failure, part, False, search.compiles, output)
    count = 1
    while count <= high and program.recording is None:
        start = ends[high - count - 1] if high > count else 0
        try:
            found = search.wrong_between(start, ends[high - 1])
        except Exception:  # what is known is not lost with a program of these nodes
            break
        if found is not None:
            return WrongNodes(nodes, found[0], found[1], count == 1, search.compiles)
        count *= 2
    return WrongNodes(nodes, failure, part, False, search.compiles)


class _Search:
    """The parts of a program, compiled and compared."""

    def __init__(self, subject: Subject, program: BisectedProgram) -> None:
        # A program that is kept from check to check has been used before.
        self._subject = subject.subject if isinstance(subject, MemoizingSubject) else subject
        self._program = program
        self._readers = program.graph.consumers()
        self._shown = {value for _, value in program.graph.outputs}
        self._shapes = program.graph.shapes(program.images)
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
        taken = {v for node in graph.nodes for v in output_names(graph, node)}
        names = {value: name for name, value in graph.outputs if name not in taken}
        return tuple((names.get(value, value), value) for value in chosen)

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

    def wrong_name(self, part: Graph) -> str | None:
        """An output of a wrong prefix, where the prefix is right with its outputs named by their values."""
        named = [name for name, value in part.outputs if name != value]
        part = replace(part, outputs=tuple((value, value) for _, value in part.outputs))
        return named[0] if named and self._first_wrong(part, self._program.batch) is None else None

    def wrong_copy(self) -> WrongNodes | None:
        """The first input that is wrong in programs that copy it, each by another op."""
        program, graph = self._program, self._program.graph
        for item in graph.inputs:
            if item.dtype != "float":
                continue
            nodes = [Node(layer.kind, layer, (item.name,)) for layer in COPIES]
            parts = [Graph(graph.name, graph.inputs, (node,), ((node.name, node.name),)) for node in nodes]
            found = [self._first_wrong(part, program.batch, item.name) for part in parts]
            if found[0] is not None and all(found):
                return WrongNodes((item.name,), found[0], (parts[0], program.batch), True, self.compiles)
        return None

    def _first_wrong(self, graph: Graph, batch: Mapping[str, Array], copied: str | None = None) -> Comparison | None:
        program = self._program
        self.compiles += 1
        makers = producers(graph)
        for outputs in self._passes(graph, batch):
            for name, value in graph.outputs:
                node = graph.node(makers[value])
                exact, budget = program.truth(copied or value)
                index = output_names(graph, node).index(value)
                place = Place(node.name, node.layer.kind, Quantity.output(index), program.form)
                got = outputs.get(name)
                seen = got if got is None or got.shape != exact.shape else program.seen(got, exact)
                found = compare(place, seen, exact, budget, program.options.precision)
                if found.problem is not None or not found.use.sharp_used <= 1:
                    return found
        return None

    def _passes(self, graph: Graph, batch: Mapping[str, Array]) -> Iterator[Mapping[str, Array]]:
        program = self._program
        if program.recording is not None:
            assert isinstance(self._subject, OpensSessions)  # whose session was recorded
            yield from program.recording.done_again(self._subject, graph, program.options)
            return
        wanted = {spec.name for spec in (*graph.named_weights(), *graph.named_state())}
        arrays = {name: array for name, array in program.arrays.items() if name in wanted}
        yield self._subject.forward(graph, arrays, batch, program.options).outputs


def _host(program: BisectedProgram) -> Any:
    return np.float64 if program.options.precision.storage == "float64" else np.float32
