"""A whole network on integers: weights and inputs such that every value is exact, so that its program is, too."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.cache_entry import CacheEntry
from cnnbench.numerics.case import Case
from cnnbench.numerics.integer_design import Design, InexactError
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.rounding import to_storage
from cnnbench.numerics.teacher_forcing import output_names
from cnnbench.spec.graph import Graph, Input, Node, producer
from cnnbench.spec.layers.shape import Reshape
from cnnbench.spec.passes import lower

Array = NDArray[Any]
DRAWS = ("dense", "sparse")
FED = "fed."


@dataclass(frozen=True)
class IntegerNetwork:
    """A program and its operands, with what it must give.

    Args:
        graph: The network; where some of its nodes are not exact, the parts that they leave, side by side: what such a
            node reads is an output, and what it would give an input.
        arrays: Weights and running statistics.
        batch: Inputs.
        exact: The right outputs.
        admitted: The error of each output; 0 where it is exact.
        cut: The nodes that were left out.
        values: Of every node, by the name of the value; empty where the network was read from the cache.
        errors: Of those that are not exact.
    """

    graph: Graph
    arrays: Mapping[str, Array]
    batch: Mapping[str, Array]
    exact: Mapping[str, Array]
    admitted: Mapping[str, Array]
    cut: tuple[str, ...] = ()
    values: Mapping[str, Array] = field(default_factory=dict)
    errors: Mapping[str, Array] = field(default_factory=dict)


def integer_network(case: Case, draw: str, rounding: frozenset[str] = frozenset()) -> IntegerNetwork:
    """The network of a case on integers.

    Args:
        case: Whose graph, shapes and precision it has.
        draw: ``dense``: no weight is 0; ``sparse``: each layer hands its channels on, so that each element counts.
        rounding: Kinds that a program rounds although their results are exact: their nodes are left out.

    Raises:
        InexactError: No part of it is exact.
    """
    graph = lower(case.graph)
    design = Design(case, graph, draw, rounding)
    design.run()
    if not any(
        f"{n.owner}.{s.name}" in design.arrays for n in graph.nodes for s in n.layer.weights(graph.input_shapes(n))
    ):
        raise InexactError("no node with weights has exact sums")
    program, outputs = _program(case, design.cut)
    needed = {spec.name for spec in (*program.named_weights(), *program.named_state())}
    fed = {f"{FED}{value}": value for value in design.values}
    batch = {
        item.name: design.values[fed.get(item.name, item.name)].reshape(item.full_shape(case.size))
        for item in program.inputs
    }
    return IntegerNetwork(
        graph=program,
        arrays={name: array for name, array in design.arrays.items() if name in needed},
        batch={name: to_storage(np.asarray(x), case.policy) for name, x in batch.items()},
        exact={name: design.values[value] for name, value in outputs.items()},
        admitted={name: design.errors.get(value, np.zeros(())) for name, value in outputs.items()},
        cut=tuple(design.cut),
        values=design.values,
        errors=design.errors,
    )


def kept_network(oracle: Oracle, draw: str, rounding: frozenset[str] = frozenset()) -> IntegerNetwork:
    """As ``integer_network``, from the oracle's cache where it is there, without the values within the network.

    Args:
        oracle: Of the case; its cache keeps the network.
        draw: As for ``integer_network``.
        rounding: As for ``integer_network``.
    """
    case = oracle.case

    def fill(entry: CacheEntry) -> None:
        try:
            made = integer_network(case, draw, rounding)
        except InexactError as error:
            entry.write("said", np.array(str(error)))
            return
        for group, arrays in _groups(made).items():
            for i, name in enumerate(sorted(arrays)):
                entry.write(f"{group}.{i}", arrays[name])
        entry.write("cut", np.array(json.dumps(made.cut)))

    more = {"rounding": sorted(rounding)} if rounding else {}
    entry = oracle.cache.entry(case.key("integer network", draw=draw, **more), fill)
    if entry.has("said"):
        raise InexactError(str(entry.read("said")))
    cut = tuple(json.loads(str(entry.read("cut"))))
    program, outputs = _program(case, cut)
    specs = (*program.named_weights(), *program.named_state())
    names = {"arrays": [s.name for s in specs], "batch": [i.name for i in program.inputs]}
    names |= {"exact": list(outputs), "admitted": list(outputs)}
    read = {g: {n: entry.read(f"{g}.{i}") for i, n in enumerate(sorted(found))} for g, found in names.items()}
    return IntegerNetwork(program, **read, cut=cut)


def _groups(made: IntegerNetwork) -> dict[str, Mapping[str, Array]]:
    return {"arrays": made.arrays, "batch": made.batch, "exact": made.exact, "admitted": made.admitted}


def _program(case: Case, cut: Sequence[str]) -> tuple[Graph, dict[str, str]]:
    """The case's graph, or what is left of it; and the value of each output by the output's name."""
    graph = lower(case.graph)
    if not cut:
        return case.graph, {
            name: value for (name, _), (_, value) in zip(case.graph.outputs, graph.outputs, strict=True)
        }
    left = _without(graph, frozenset(cut), case.size)
    return left, dict(left.outputs)


def _without(graph: Graph, cut: frozenset[str], size: int) -> Graph:
    """The graph without some nodes: what they read is an output, and what they would give an input."""
    fresh = [v for n in graph.nodes if n.name in cut for v in output_names(graph, n)]
    kept = [n for n in graph.nodes if n.name not in cut]
    made = {value for node in kept for value in output_names(graph, node)}
    inputs = (*graph.inputs, *(_fed(graph, value, size) for value in fresh))
    shown = [v for n in graph.nodes if n.name in cut for v in n.inputs] + [v for _, v in graph.outputs]
    outputs = tuple((v, v) for v in dict.fromkeys(shown) if v in made and graph.dtypes[v] == "float")
    needed = {producer(value) for value, _ in outputs}
    for node in reversed(kept):
        if node.name in needed:
            needed.update(map(producer, node.inputs))
    rows = {value: made_of for value in fresh if (made_of := _rows(graph, value)) is not None}
    renamed = {value: rows[value].name if value in rows else f"{FED}{value}" for value in fresh}
    nodes = tuple(replace(n, inputs=tuple(renamed.get(v, v) for v in n.inputs)) for n in kept if n.name in needed)
    read = {value for node in nodes for value in node.inputs}
    nodes = (*(node for node in rows.values() if node.name in read), *nodes)
    read |= {value for node in nodes for value in node.inputs}
    return Graph(graph.name, tuple(item for item in inputs if item.name in read), nodes, outputs)


def _fed(graph: Graph, value: str, size: int) -> Input:
    """The input that stands for a value that is cut: of images where the value is, so that it fits any batch."""
    one, two, shape = (graph.shapes(images)[value] for images in (1, 2, size))
    if _rows(graph, value) is not None:
        return Input(f"{FED}{value}", (math.prod(one),))
    batched = one[:1] == (1,) and two == (2, *one[1:])
    return Input(f"{FED}{value}", shape[1:] if batched else shape, batched=batched)


def _rows(graph: Graph, value: str) -> Node | None:
    """The node that makes a value of one row for each image where its first axis joins images with something else.

    Such as regions: (N R, ...) comes in as (N, prod(R, ...)). None for any other value.
    """
    one, two = graph.shapes()[value], graph.shapes(2)[value]
    if not one or one[0] < 2 or two != (2 * one[0], *one[1:]):
        return None
    name = f"{FED}{value.replace(':', '.output')}.rows"
    return Node(name, Reshape(shape=(-1, *one[1:]), whole=True), (f"{FED}{value}",))
