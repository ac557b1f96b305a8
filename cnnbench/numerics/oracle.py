"""The oracle: what every node of a network should give, with its budgets, from the float64 reference, cached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.numerics.budgets import (
    ForwardBudget,
    GradientSetting,
    Setting,
    forward_budget,
    gradient_budget,
)
from cnnbench.numerics.budgets.shared import Shared
from cnnbench.numerics.cache import Cache
from cnnbench.numerics.cache_entry import CacheEntry
from cnnbench.numerics.case import Case
from cnnbench.numerics.reference import LayerCall, LayerValues, layer_arrays, reference
from cnnbench.numerics.rounding import to_storage
from cnnbench.numerics.teacher_forcing import float_outputs, output_names, representatives
from cnnbench.numerics.truths import GradientTruth, Truth, read_shared, read_truth, write_shared, write_truth
from cnnbench.spec.graph import Graph, Node
from cnnbench.spec.masks import masks_of
from cnnbench.spec.streams import stream

Array = NDArray[Any]
Arrays = tuple[Array, ...]


class Visit(NamedTuple):
    """One node on a walk: its call on storage-rounded operands, its exact values and their budget."""

    node: Node
    call: LayerCall
    values: LayerValues
    budget: ForwardBudget


def walk(case: Case, *, training: bool) -> Iterator[Visit]:
    """Every node in order, each on its predecessors' exact values rounded to the storage type.

    A subject can be given these operands exactly, so that each node is judged by its own error alone.

    Args:
        case: The network with its batch.
        training: Whether it is a training pass.
    """
    graph, policy = case.lowered, case.policy
    masks = masks_of(graph, case.size, case.seed) if training else {}
    readers = {value: len(nodes) for value, nodes in graph.consumers().items()}
    values: dict[str, Array] = dict(case.inputs)
    for node in graph.nodes:
        call = node_call(graph, node, case.stored, tuple(values[v] for v in node.inputs), masks if training else None)
        results = reference().forward(call)
        budget = forward_budget(Setting(call, results, policy, reference()))
        yield Visit(node, call, results, budget)
        for name, value in zip(output_names(graph, node), results.outputs, strict=True):
            values[name] = to_storage(value, policy)
        for name in node.inputs:
            readers[name] -= 1
            if not readers[name]:
                del values[name]
        del call, results, budget  # before the next node's: each holds the node's weights in float64


def node_call(
    graph: Graph, node: Node, arrays: Mapping[str, Array], inputs: Arrays, masks: Mapping[str, Array] | None
) -> LayerCall:
    """A node's call in float64.

    Args:
        graph: The network.
        node: Of it.
        arrays: The network's weights and running statistics by full name.
        inputs: What the node reads.
        masks: The network's masks by name, for a training pass; None for inference.
    """
    weights, state = layer_arrays(graph, node, arrays)
    own = () if masks is None else node.layer.masks(tuple(tuple(x.shape) for x in inputs))
    return LayerCall(
        node.layer,
        tuple(x if x.dtype.kind != "f" else np.asarray(x, np.float64) for x in inputs),
        weights,
        state,
        tuple(np.asarray(masks[f"{node.name}.{spec.name}"], np.float64) for spec in own) if masks else (),
        training=masks is not None,
    )


def behaves_differently_in_training(graph: Graph, node: Node) -> bool:
    """Whether a training pass changes what the node computes."""
    shapes = graph.input_shapes(node)
    return bool(node.layer.state(shapes) or node.layer.masks(shapes))


@dataclass(frozen=True)
class Oracle:
    """What is right for one case. Each answer is computed when it is first asked for, and kept in the user's cache.

    Args:
        case: The question.
        cache: Where answers are kept.
    """

    case: Case
    cache: Cache

    @staticmethod
    def of(case: Case) -> Oracle:
        """The oracle of a case with the user's cache."""
        return Oracle(case, Cache.of_user())

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {node.name: i for i, node in enumerate(self.case.lowered.nodes)}

    @cached_property
    def _producers(self) -> dict[str, tuple[str, int]]:
        graph = self.case.lowered
        return {value: (node.name, i) for node in graph.nodes for i, value in enumerate(output_names(graph, node))}

    @property
    def _local(self) -> CacheEntry:  # asked for each time: what other answers need may have removed it meanwhile
        return self.cache.entry(self.case.key("local"), self._fill_local)

    def _fill_local(self, entry: CacheEntry) -> None:
        for visit in walk(self.case, training=False):
            position = self._positions[visit.node.name]
            write_truth(entry, f"{position}.out", visit.values.outputs, visit.budget.outputs)
            write_shared(entry, f"{position}.shared", visit.budget.shared)
            if behaves_differently_in_training(self.case.lowered, visit.node):
                masks = masks_of(self.case.lowered, self.case.size, self.case.seed)
                inputs = visit.call.inputs
                call = node_call(self.case.lowered, visit.node, self.case.stored, inputs, masks)
                values = reference().forward(call)
                budget = forward_budget(Setting(call, values, self.case.policy, reference()))
                write_truth(entry, f"{position}.training", values.outputs, budget.outputs)
                write_truth(entry, f"{position}.state", values.state, budget.state)
            del visit  # before the next one

    def inputs(self, node: str) -> Arrays:
        """The operands of a node: its predecessors' exact values rounded to the storage type."""
        return tuple(self._stored_value(value) for value in self.case.lowered.node(node).inputs)

    def _stored_value(self, value: str) -> Array:
        if value not in self._producers:
            return self.case.inputs[value]
        producer, index = self._producers[value]
        exact = self._local.read(f"{self._positions[producer]}.out.{index}")
        return to_storage(np.asarray(exact), self.case.policy)

    def outputs(self, node: str, *, training: bool = False) -> Truth:
        """A node's outputs at inference or at training."""
        stem = f"{self._positions[node]}.{'training' if training else 'out'}"
        found = read_truth(self._local, stem if self._local.has(f"{stem}.0") else f"{self._positions[node]}.out")
        if not found.values:
            raise DataError(
                f"the cached oracle has no values of {node!r}", where=str(self.cache.folder), remedy="run again"
            )
        return found

    def shared(self, node: str) -> tuple[Shared, ...]:
        """What the elements of a node's first output err by in common at inference."""
        return read_shared(self._local, f"{self._positions[node]}.shared")

    def state(self, node: str) -> Truth:
        """A node's running statistics after a training pass."""
        return read_truth(self._local, f"{self._positions[node]}.state")

    def gradients(self, node: str) -> GradientTruth:
        """Gradients of a training pass of the node alone, for seeded normal cotangents."""
        position, item = self._positions[node], self.case.lowered.node(node)
        names = [spec.name for spec in item.layer.weights(self.case.lowered.input_shapes(item))]
        of_inputs = [(i, read_truth(self._gradients, f"{position}.in{i}")) for i in range(len(item.inputs))]
        of_weights = [(name, read_truth(self._gradients, f"{position}.weight{i}")) for i, name in enumerate(names)]
        inputs = tuple((i, found.values[0], found.budgets[0]) for i, found in of_inputs if found.values)
        weights = tuple((name, found.values[0], found.budgets[0]) for name, found in of_weights if found.values)
        return GradientTruth(self.cotangents(node), inputs, weights)

    def cotangents(self, node: str) -> Arrays:
        """The cotangents of a node's outputs in the gradient check: seeded normal values, rounded to storage."""
        graph = self.case.lowered
        item = graph.node(node)
        shapes = graph.output_shapes(item, self.case.size)
        return tuple(
            to_storage(self._cotangent(f"{node}:{i}", shape), self.case.policy)
            for i, (value, shape) in enumerate(zip(output_names(graph, item), shapes, strict=True))
            if graph.dtypes[value] == "float"
        )

    def _cotangent(self, name: str, shape: tuple[int, ...]) -> Array:
        values = np.asarray(stream(self.case.seed, "cotangents", name).normal(size=shape))
        return np.abs(values) if self.case.positive else values

    def differentiated(self) -> list[str]:
        """The nodes whose gradients are compared: the first of each layer with the same operands' shapes."""
        graph = self.case.lowered
        names = representatives(graph, self.case.size)
        return [n for n in names if graph.node(n).layer.differentiable and float_outputs(graph, graph.node(n))]

    @property
    def _gradients(self) -> CacheEntry:
        return self.cache.entry(self.case.key("gradients"), self._fill_gradients)

    def _fill_gradients(self, entry: CacheEntry) -> None:
        case = self.case
        masks = masks_of(case.lowered, case.size, case.seed)
        for name in self.differentiated():
            self._fill_gradients_of(entry, name, masks)

    def _fill_gradients_of(self, entry: CacheEntry, name: str, masks: Mapping[str, Array]) -> None:
        """Those of one node; all that is computed for it is gone before the next one."""
        case, position = self.case, self._positions[name]
        call = node_call(case.lowered, case.lowered.node(name), case.stored, self.inputs(name), masks)
        cotangents = tuple(np.asarray(g, np.float64) for g in self.cotangents(name))
        values = reference().forward(call)
        gradients = reference().gradient(call, cotangents)
        budget = gradient_budget(GradientSetting(call, values, case.policy, reference(), cotangents, gradients))
        parts = {"in": (gradients.inputs, budget.inputs), "weight": (gradients.weights, budget.weights)}
        for stem, (found, admitted) in parts.items():
            for i, (value, most) in enumerate(zip(found, admitted, strict=True)):
                if value is not None and most is not None:
                    write_truth(entry, f"{position}.{stem}{i}", (value,), (most,))
