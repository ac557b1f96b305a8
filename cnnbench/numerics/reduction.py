"""The smallest network that still fails: nodes are cut away, then shapes shrink, then fields go to their defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, fields, replace
from typing import Any

from cnnbench.errors import CnnbenchError
from cnnbench.spec.graph import Builder, Graph, Input, Node
from cnnbench.spec.layers import Layer

TRIES = 200


class _Search:
    """The smallest graph so far, and how many more may be tried.

    Args:
        graph: That fails.
        still_fails: Asked of each candidate once.
        tries: At most so many are asked.
    """

    def __init__(self, graph: Graph, still_fails: Callable[[Graph], bool], tries: int) -> None:
        self.graph = graph
        self.tries = tries
        self._still_fails = still_fails
        self._asked = {graph.digest}

    def take(self, candidate: Graph | None) -> bool:
        """Whether the candidate is valid, new and fails; it is the smallest so far then."""
        if candidate is None or self.tries <= 0 or candidate.digest in self._asked:
            return False
        self._asked.add(candidate.digest)
        self.tries -= 1
        if not self._still_fails(candidate):
            return False
        self.graph = candidate
        return True


def reduce(graph: Graph, still_fails: Callable[[Graph], bool], *, batch: int = 1, tries: int = TRIES) -> Graph:
    """The smallest graph found of which ``still_fails`` is true.

    For example, of forty nodes among which one convolution is wrong for an uneven padding, that convolution is left, on
    one channel, with every other field at its default.

    Args:
        graph: A graph that fails.
        still_fails: Whether a smaller graph fails in the same way. A node that is cut away leaves its values as inputs
            of their names (``cut_name``), so that they can be given what they held in the whole graph.
        batch: Images; a value that holds them elsewhere than in its first axis keeps its whole shape when it is cut.
        tries: How often ``still_fails`` may be asked.

    Source: Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input" (2002), on nodes, sizes, fields.
    """
    search = _Search(graph, still_fails, tries)
    any(search.take(_kept(search.graph, [node.name], batch)) for node in reversed(graph.nodes))
    before = None
    while before != search.graph.digest and search.tries > 0:
        before = search.graph.digest
        _fewer_outputs(search)
        _fewer_nodes(search, batch)
        _smaller_shapes(search)
        _plainer_fields(search)
    return search.graph


def cut_name(value: str) -> str:
    """The name of the input that stands for a value whose node was cut away: ``split:1`` is fed as ``split_1``."""
    return value.replace(":", "_")


def _fewer_outputs(search: _Search) -> None:
    if len(search.graph.outputs) > 1:
        whole = search.graph
        any(search.take(_without_dead(replace(whole, outputs=(pair,)))) for pair in whole.outputs)


def _fewer_nodes(search: _Search, batch: int) -> None:
    """Halves, quarters ... and single nodes are cut away."""
    size = len(search.graph.nodes) // 2
    while size >= 1:
        for start in range(0, len(search.graph.nodes), size):
            names = [node.name for node in search.graph.nodes]
            gone = names[start : start + size]
            search.take(_kept(search.graph, [name for name in names if name not in gone], batch))
        size //= 2


def _kept(graph: Graph, names: Sequence[str], batch: int) -> Graph | None:
    """The graph of these nodes, fed what the others gave; None where it is no valid graph or nothing is left."""
    nodes = [node for node in graph.nodes if node.name in names]
    if not nodes or len(nodes) == len(graph.nodes) > 1:
        return None
    made = {value: graph.dtypes[value] for node in nodes for value in _outputs(graph, node)}
    needed = list(dict.fromkeys(value for node in nodes for value in node.inputs if value not in made))
    known = {item.name: item for item in graph.inputs}
    inputs = [known[value] if value in known else _as_input(graph, value, batch) for value in needed]
    nodes = [replace(node, inputs=tuple(v if v in made else cut_name(v) for v in node.inputs)) for node in nodes]
    read = {value for node in nodes for value in node.inputs}
    given = {value for _, value in graph.outputs}
    ends = [value for value in made if value not in read or value in given]
    ends.sort(key=lambda value: made[value] != "float")
    return _rebuilt(graph.name, inputs, nodes, ends)


def _outputs(graph: Graph, node: Node) -> tuple[str, ...]:
    count = len(graph.output_shapes(node))
    return (node.name, *(f"{node.name}:{i}" for i in range(1, count)))


def _as_input(graph: Graph, value: str, batch: int) -> Input:
    shapes = [graph.shapes(size)[value] for size in (batch, batch + 1)]
    batched = [shape[:1] for shape in shapes] == [(batch,), (batch + 1,)] and shapes[0][1:] == shapes[1][1:]
    shape = shapes[0][1:] if batched else shapes[0]
    return Input(cut_name(value), shape, graph.dtypes[value], batched)


def _without_dead(graph: Graph) -> Graph | None:
    """The graph of what its outputs need."""
    part = graph.prefix([value for _, value in graph.outputs])
    read = {value for node in part.nodes for value in node.inputs}
    inputs = [item for item in graph.inputs if item.name in read]
    return _rebuilt(graph.name, inputs, part.nodes, [value for _, value in graph.outputs])


def _rebuilt(name: str, inputs: Sequence[Input], nodes: Sequence[Node], ends: Sequence[str]) -> Graph | None:
    """A valid graph of these parts, whose first user of shared weights owns them; None where there is none."""
    builder = Builder(name)
    owners: dict[str, str] = {}
    try:
        for item in inputs:
            builder.input(item.name, item.shape, dtype=item.dtype, batched=item.batched)
        for node in nodes:
            owner = owners.setdefault(node.owner, node.name)
            builder.add_all(node.name, node.layer, *node.inputs, weights_of=None if owner == node.name else owner)
        return builder.build([builder.value(value) for value in ends])
    except CnnbenchError:
        return None


def _smaller_shapes(search: _Search) -> None:
    """Axes of one size are made smaller together, then each alone."""
    sizes = sorted({size for item in search.graph.inputs for size in item.shape if size > 1}, reverse=True)
    for size in sizes:
        for smaller in dict.fromkeys((1, 2, size // 2, size - 1)):
            if 0 < smaller < size:
                search.take(_resized(search.graph, size, smaller))
    for index, item in enumerate(search.graph.inputs):
        for axis, size in enumerate(item.shape):
            for smaller in dict.fromkeys((1, 2, size // 2, size - 1)):
                if 0 < smaller < size:
                    search.take(_one_axis(search.graph, index, axis, smaller))


def _resized(graph: Graph, size: int, smaller: int) -> Graph | None:
    """The graph with every input's axes of one size made smaller."""
    inputs = [replace(item, shape=tuple(smaller if n == size else n for n in item.shape)) for item in graph.inputs]
    return _rebuilt(graph.name, inputs, graph.nodes, [value for _, value in graph.outputs])


def _one_axis(graph: Graph, index: int, axis: int, size: int) -> Graph | None:
    inputs = list(graph.inputs)
    if axis >= len(inputs[index].shape):
        return None
    shape = inputs[index].shape
    inputs[index] = replace(inputs[index], shape=(*shape[:axis], size, *shape[axis + 1 :]))
    return _rebuilt(graph.name, inputs, graph.nodes, [value for _, value in graph.outputs])


def _plainer_fields(search: _Search) -> None:
    """Each field goes to its default, or to a smaller value."""
    for position in range(len(search.graph.nodes)):
        if position >= len(search.graph.nodes):
            return
        for item in fields(search.graph.nodes[position].layer):
            for value in _plainer(search.graph.nodes[position].layer, item.name):
                if search.take(_with_field(search.graph, position, item.name, value)):
                    break


def _plainer(layer: Layer, name: str) -> Iterator[Any]:
    now = getattr(layer, name)
    default = next(item.default for item in fields(layer) if item.name == name)
    if default is not MISSING and default != now:
        yield default
    for value in _smaller_values(now):
        if value != now:
            yield value


def _smaller_values(now: Any) -> Iterator[Any]:
    """Simpler values of the same form, the simplest first."""
    if isinstance(now, bool):
        yield False
    elif isinstance(now, int):
        yield from dict.fromkeys((0, 1, now // 2) if now > 0 else (0, -1))
    elif isinstance(now, float):
        yield from (1.0, float(round(now)))
    elif isinstance(now, tuple) and now and all(isinstance(item, int) for item in now):
        yield from ((1,) * len(now), (0,) * len(now), (max(now),) * len(now))
        yield from ((*now[:i], 1, *now[i + 1 :]) for i in range(len(now)))
    elif isinstance(now, tuple) and now and all(isinstance(item, tuple) for item in now):
        yield from ((*now[:i], (0,) * len(item), *now[i + 1 :]) for i, item in enumerate(now))


def _with_field(graph: Graph, position: int, name: str, value: Any) -> Graph | None:
    try:
        changed = replace(graph.nodes[position].layer, **{name: value})
    except (CnnbenchError, TypeError, ValueError):
        return None
    nodes = list(graph.nodes)
    owner = nodes[position].owner
    for i, node in enumerate(nodes):
        if i == position or (node.owner == owner and node.layer.kind == changed.kind):
            nodes[i] = replace(node, layer=changed)
    return _rebuilt(graph.name, graph.inputs, nodes, [value for _, value in graph.outputs])
