"""Weights and inputs of a drawn network, and the network without the nodes that overflow on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import NumericalError
from cnnbench.execution.contract import Layout, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.fuzzing.choices import Choices
from cnnbench.fuzzing.growth import without_unread_inputs
from cnnbench.fuzzing.network import DrawnNetwork
from cnnbench.numerics.case import Case
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.numerics.rounding import all_to_storage
from cnnbench.spec.graph import Graph, producer, value_names
from cnnbench.spec.masks import masks_of
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import general_position

Array = NDArray[Any]
Draw = Callable[[Any, tuple[int, ...]], Any]
SHARES = {"float32": 12, "bfloat16": 3, "float16": 3, "float64": 2}
BATCHES = (1, 2, 2, 3, 5)
IMAGES = 2  # which the operands of shared cases name by their numbers
LARGEST = {"float16": 200.0}  # of a value: squares of a few hundred leave float16
LARGEST_ELSEWHERE = 1e4
INTEGERS = 2.0**24  # of sums of quantised values
FLAVOURS: Mapping[str, tuple[float, float]] = {  # mean and deviation of the inputs
    "normal": (0.0, 1.0),
    "positive": (0.0, 1.0),
    "integers": (0.0, 2.0),
    "shifted": (30.0, 1.0),
    "small": (0.0, 1e-3),
    "large": (0.0, 20.0),
}
FLAVOUR_SHARES = ("normal",) * 6 + ("positive", "integers", "shifted", "small", "large")


@dataclass(frozen=True)
class DrawnCase:
    """A drawn network with its values.

    Args:
        case: The question; its mode is set for each backend.
        flavour: How its inputs are drawn.
        cut: Nodes that were left out because values would have left the range of numbers.
    """

    case: Case
    flavour: str
    cut: tuple[str, ...]


def draw_case(network: DrawnNetwork) -> DrawnCase | None:
    """The network with values, precision and batch; None where no node's values stay in the range of numbers."""
    seed = network.seed * 1_000_003 + network.number
    dice = Choices(stream(network.seed, "fuzz values", step=network.number))
    name = dice.one([name for name, share in SHARES.items() for _ in range(share)])
    layouts: list[Layout] = ["auto", "auto", "channels_first", "channels_last"]
    options = ProgramOptions("reference", precision(name), dice.one(layouts), fold_batch_norm=dice.chance(0.5))
    flavour, batch = dice.one(FLAVOUR_SHARES), dice.one(BATCHES)
    arrays = general_position(network.graph, seed)
    batch = max(batch, IMAGES) if network.draws else batch
    for size in (batch, batch + 1):
        inputs = drawn_inputs(network.graph, size, seed, flavour, network.draws)
        case = Case(network.graph, arrays, inputs, options, seed=seed, positive=flavour == "positive")
        found = _within_range(case, flavour)
        if found is None or _trains(found.case):
            return found
    return found


def _trains(case: Case) -> bool:
    """Whether a training pass is defined: a batch norm of one value a channel has no variance."""
    with np.errstate(all="ignore"):
        try:
            batch = {**case.inputs, **masks_of(case.lowered, case.size, case.seed)}
            reference().subject.forward(case.lowered, case.stored, batch, reference_options(training=True))
        except NumericalError:
            return False
    return True


def drawn_inputs(graph: Graph, batch: int, seed: int, flavour: str, draws: Mapping[str, Draw]) -> dict[str, Array]:
    """A batch of the network's inputs, each from a stream of its own.

    Args:
        graph: The network.
        batch: Images.
        seed: Of the streams.
        flavour: Of ``FLAVOURS``.
        draws: How an input is drawn that does not take any number.
    """
    mean, deviation = FLAVOURS[flavour]
    found = {}
    for item in graph.inputs:
        generator, shape = stream(seed, "fuzz inputs", item.name), item.full_shape(batch)
        if item.name in draws:
            values = np.asarray(draws[item.name](generator, shape))
        elif item.dtype == "int":
            values = generator.integers(0, 2, shape)
        else:
            values = mean + deviation * np.asarray(generator.normal(size=shape))
            values = np.abs(values) if flavour == "positive" else values
            values = np.round(values) if flavour == "integers" else values
        found[item.name] = values if values.dtype.kind in "iu" else values.astype(np.float32)
    return found


def all_values(case: Case) -> dict[str, Array]:
    """Every value of the network in float64, inputs among them, at inference."""
    graph = case.graph
    names = [v for node in graph.nodes for v in value_names(node.name, len(graph.output_shapes(node)))]
    whole = replace(graph, outputs=tuple((name, name) for name in names))
    with np.errstate(all="ignore"):
        result = reference().subject.forward(whole, case.stored, case.inputs, reference_options())
    return {**case.inputs, **result.outputs}


def _within_range(case: Case, flavour: str) -> DrawnCase | None:
    """The case without the nodes whose values are not finite or too large, and without what reads them."""
    largest = LARGEST.get(case.policy.name, LARGEST_ELSEWHERE)
    values = all_values(case)
    gone: set[str] = set()
    for node in case.graph.nodes:
        limit = INTEGERS if node.layer.family == "quantized" else largest
        own = [values[v] for v in value_names(node.name, len(case.graph.output_shapes(node)))]
        beyond = any(not np.isfinite(v).all() or np.abs(v).max(initial=0) > limit for v in own)
        if beyond or any(producer(v) in gone for v in node.inputs) or node.weights_of in gone:
            gone.add(node.name)
    if not gone:
        return DrawnCase(case, flavour, ())
    graph = _without(case.graph, gone)
    if graph is None:
        return None
    kept = {spec.name for spec in (*graph.named_weights(), *graph.named_state())}
    arrays = {name: array for name, array in case.arrays.items() if name in kept}
    batch = {item.name: case.batch[item.name] for item in graph.inputs}
    return DrawnCase(replace(case, graph=graph, arrays=arrays, batch=batch), flavour, tuple(sorted(gone)))


def _without(graph: Graph, gone: set[str]) -> Graph | None:
    nodes = tuple(node for node in graph.nodes if node.name not in gone)
    if not nodes:
        return None
    read = {value for node in nodes for value in node.inputs}
    ends = [
        value for node in nodes for value in value_names(node.name, len(graph.output_shapes(node))) if value not in read
    ]
    ends.sort(key=lambda value: graph.dtypes[value] != "float")
    outputs = tuple((f"output{i}", value) for i, value in enumerate(ends))
    return without_unread_inputs(replace(graph, nodes=nodes, outputs=outputs))


def refilled(case: Case, graph: Graph, values: Mapping[str, Array]) -> Case:
    """The question of a smaller graph, on the same values as far as they have the same shapes.

    Args:
        case: Of the whole graph.
        graph: A part of it, perhaps with smaller shapes.
        values: Of the whole graph, by the names of the inputs that stand for them.

    A value or an array of another shape is cut out of the one that was there, and repeated where that is too small.
    """
    drawn = general_position(graph, case.seed)
    arrays = {name: _fitted(case.arrays.get(name, array), array.shape) for name, array in drawn.items()}
    batch = {}
    for item in graph.inputs:
        shape = item.full_shape(case.size)
        batch[item.name] = _fitted(np.asarray(values[item.name]), shape)
    stored = all_to_storage(batch, case.policy)
    return replace(case, graph=graph, arrays=arrays, batch=stored, targets=None)


def _fitted(array: Array, shape: tuple[int, ...]) -> Array:
    if array.shape == shape:
        return array
    if array.ndim == len(shape) and all(n <= have for n, have in zip(shape, array.shape, strict=True)):
        return array[tuple(slice(n) for n in shape)]
    return np.resize(array, shape) if math.prod(array.shape) else np.zeros(shape, array.dtype)
