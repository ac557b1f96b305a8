"""NaN, infinities, denormals and signed zeros: operands that hold them, and what of their results is compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.case import Case
from cnnbench.numerics.rounding import to_storage
from cnnbench.numerics.teacher_forcing import output_names
from cnnbench.spec.draws import box_extents
from cnnbench.spec.graph import Graph, Input, Node, value_names
from cnnbench.spec.layers import Layer
from cnnbench.spec.streams import stream

Array = NDArray[Any]

LONGEST = 3  # nodes of a chain: a product, its normalisation, its activation
PRODUCTS = ("conv", "conv_transpose", "linear", "matmul", "partial_conv")
SAMPLES = ("grid_sample", "roi_align", "level_roi_align")  # kinds that read pixels at places which are data
SLOTS = ("nan", "clean", "+inf", "-inf", "windows of -inf", "zeros and denormals")
FEW = 2  # slots of a large operand: NaN in the first, none in the second
LARGE_VALUES = 3_000_000  # of an operand with all slots
PLACES = 3  # of a slot that hold its special value
SMALL = (0.0, -0.0, 1e-40, -1e-40, 1e-45, 1e-38)  # their sums are exact, in whatever order
# Of a layer alone: where exponentials saturate and overflow, where activations bend, and far from both.
WIDE = (*SMALL, *(s * x for x in (0.25, 0.5, 1.0, 3.0, 6.0, 20.0, 80.0, 104.0, 127.5, 1e4, 1e30) for s in (1, -1)))
WIDE_FAMILIES = ("activation", "rectifier", "smooth")


@dataclass(frozen=True)
class Chain:
    """Nodes of a network that follow each other, which a compiler may make one kernel of.

    Args:
        nodes: Their names, in order.
        kinds: Their kinds.
        wide: Whether the operand holds ``WIDE``, finite values of every size, so that values are compared too.
    """

    nodes: tuple[str, ...]
    kinds: tuple[str, ...]
    wide: bool = False

    def parts(self) -> Iterator[Chain]:
        """All chains within this one, the shortest first."""
        for length in range(1, len(self.nodes) + 1):
            for begin in range(len(self.nodes) - length + 1):
                end = begin + length
                yield Chain(self.nodes[begin:end], self.kinds[begin:end])


def chains(graph: Graph) -> list[Chain]:
    """One chain for each sequence of kinds: from a node back over first operands to a product or over three.

    For example, of conv -> batch_norm -> relu -> max_pool these are (conv, batch_norm, relu) and
    (batch_norm, relu, max_pool). What begins another chain is left out.
    """
    made = {value: node for node in graph.nodes for value in output_names(graph, node)}
    found: dict[tuple[str, ...], Chain] = {}
    for node in graph.nodes:
        line = [node]
        while len(line) < LONGEST and line[0].layer.kind not in PRODUCTS:
            before = made.get(line[0].inputs[0]) if line[0].inputs else None
            if before is None or not _takes_special(graph, before):
                break
            line.insert(0, before)
        if all(_takes_special(graph, item) for item in line):
            kinds = tuple(item.layer.kind for item in line)
            found.setdefault(kinds, Chain(tuple(item.name for item in line), kinds))
    begun = {kinds[:length] for kinds in found for length in range(1, len(kinds))}
    return [chain for kinds, chain in found.items() if kinds not in begun]


def is_free(layer: Layer) -> bool:
    """Whether a right formulation may multiply a NaN or infinity by 0: by weights beside a sample, or between taps.

    Boxes that are not numbers have no place in an image, and losses choose among values by products, too.
    """
    if layer.kind == "resize":
        return bool(layer.fields()["mode"] != "nearest")
    dilation = layer.fields().get("dilation", 1)
    of_boxes = layer.family in ("detection", "roi_align", "loss")
    return layer.kind == "grid_sample" or of_boxes or bool(np.max(dilation) > 1)


def _takes_special(graph: Graph, node: Node) -> bool:
    """Whether a node computes with floats, in a way that says what becomes of each."""
    return bool(node.inputs) and graph.dtypes[node.inputs[0]] == "float" and not is_free(node.layer)


def wide_chains(graph: Graph) -> list[Chain]:
    """Each activation of the network alone, once for each setting of its fields."""
    found: dict[Any, Chain] = {}
    for node in graph.nodes:
        weights = node.layer.weights(graph.input_shapes(node))
        if node.layer.family in WIDE_FAMILIES and node.layer.kind != "hardmax" and not weights:
            found.setdefault(node.layer, Chain((node.name,), (node.layer.kind,), wide=True))
    return list(found.values())


@dataclass(frozen=True)
class Probe:
    """Chains side by side, each on operands of its own that hold special values.

    Args:
        case: The network.
        chains: Of it.
        plain: Whether all operands are finite and ordinary instead.
    """

    case: Case
    chains: Sequence[Chain]
    plain: bool = False

    def slots(self, chain: Chain) -> int:
        """How many images the chain gets: few where they are large."""
        graph, head = self.case.lowered, self.case.lowered.node(chain.nodes[0])
        largest = max(math.prod(shape) for shape in graph.output_shapes(head, len(SLOTS)))
        largest = max(largest, *(math.prod(shape) for shape in graph.input_shapes(head, len(SLOTS))))
        return len(SLOTS) if largest <= LARGE_VALUES else FEW

    def build(self) -> tuple[Graph, dict[str, Array], dict[str, Array]]:
        """The graph, its arrays and its batch; output ``i`` is the last node of chain ``i``."""
        graph = self.case.lowered
        inputs: list[Input] = []
        nodes: list[Node] = []
        outputs: list[tuple[str, str]] = []
        arrays: dict[str, Array] = {}
        batch: dict[str, Array] = {}
        for i, chain in enumerate(self.chains):
            before: dict[str, str] = {}
            images = self.slots(chain)
            for position, name in enumerate(chain.nodes):
                node, own = graph.node(name), f"chain{i}.{position}"
                reads = []
                for j, value in enumerate(node.inputs):
                    if value not in before:
                        before[value] = f"operand{i}.{position}.{j}"
                        shape = graph.shapes(images)[value]
                        inputs.append(Input(before[value], shape, graph.dtypes[value], batched=False))
                        alike = graph.shapes()[value] == graph.shapes()[node.inputs[0]]  # boxes and indices are not
                        ordinary = position > 0 or self.plain or not alike
                        kind = "plain" if ordinary else "wide" if chain.wide else "special"
                        batch[before[value]] = self._operand(value, shape, images, kind)
                    reads.append(before[value])
                nodes.append(replace(node, name=own, inputs=tuple(reads), weights_of=None))
                names = output_names(graph, node)
                before |= dict(zip(names, value_names(own, len(names)), strict=True))
                shapes = graph.input_shapes(node)
                for spec in (*node.layer.weights(shapes), *node.layer.state(shapes)):
                    arrays[f"{own}.{spec.name}"] = self.case.stored[f"{node.owner}.{spec.name}"]
            outputs.append((f"output{i}", f"chain{i}.{len(chain.nodes) - 1}"))
        return Graph(f"{graph.name} (chains)", tuple(inputs), tuple(nodes), tuple(outputs)), arrays, batch

    def _operand(self, value: str, shape: tuple[int, ...], images: int, kind: str) -> Array:
        graph = self.case.lowered
        generator = stream(self.case.seed, "special values", value)
        if graph.dtypes[value] != "float":
            return np.zeros(shape, np.int64)
        values = generator.normal(size=shape).astype(np.float32)
        if kind == "wide":
            values = np.resize(np.asarray(WIDE, np.float32), shape)
        elif kind == "special" and shape and shape[0] % images == 0 and shape != graph.shapes(1)[value]:
            values = poisoned(values, generator, images)
        return to_storage(values, self.case.policy)


def poisoned(values: Array, generator: np.random.Generator, images: int) -> Array:
    """The values with the special ones of ``SLOTS``, a part along the first axis for each.

    Args:
        values: Finite ones.
        generator: Of the places.
        images: How many parts there are; the first ones of ``SLOTS``.
    """
    result = values.copy()
    for slot, part in zip(SLOTS[:images], np.split(result, images), strict=True):
        flat = part.reshape(-1)  # a view: a part of a contiguous array along the first axis
        places = generator.integers(0, flat.size, PLACES)
        if slot in ("nan", "+inf", "-inf"):
            flat[places] = float(slot)
        elif slot == "windows of -inf":
            flat[: flat.size // 2] = -math.inf
        elif slot == "zeros and denormals":
            flat[:] = np.resize(np.asarray(SMALL, np.float32), flat.size)
    return result


def _samples(graph: Graph, item: str) -> bool:
    """Whether the network reads some values of an input only, at places that are no choice among what it makes of it.

    Args:
        graph: The network.
        item: The input.
    """
    reached = {item}
    for node in graph.nodes:
        if reached & {*node.inputs}:
            reached |= {*output_names(graph, node)}
    chooses = any(graph.dtypes[value] != "float" for value in reached)
    return not chooses and any(node.layer.kind in SAMPLES for node in graph.nodes)


def poisoned_batch(case: Case) -> dict[str, Array] | None:
    """The batch whose first image has one NaN, in the first input of floats; None where there is no such input.

    The whole image is NaN where the network samples it: one pixel might be read by no sample. Boxes that are not
    numbers have no place in an image, so that inputs which are boxes stay as they are.
    """
    boxes = box_extents(case.lowered)
    for item in case.graph.inputs:
        values = case.inputs[item.name].copy()
        if item.batched and item.dtype == "float" and values.size and item.name not in boxes:
            first = values[0].reshape(-1)
            place = stream(case.seed, "special image", item.name).integers(0, first.size)
            first[... if _samples(case.lowered, item.name) else place] = math.nan
            return {**case.inputs, item.name: values}
    return None


def flushed(batch: Mapping[str, Array]) -> dict[str, Array]:
    """The operands with each denormal replaced by a zero of its sign, as some frameworks do."""
    return {
        name: np.where(np.abs(x) < 2.0**-126, np.copysign(np.zeros((), x.dtype), x), x) if x.dtype.kind == "f" else x
        for name, x in batch.items()
    }


def classes(values: Array) -> Array:
    """0 for a finite value, 1 for +inf, 2 for -inf, 3 for NaN; an integer itself."""
    if values.dtype.kind in "iu":
        return values
    return np.select([np.isnan(values), np.isposinf(values), np.isneginf(values)], [3, 1, 2], 0)
