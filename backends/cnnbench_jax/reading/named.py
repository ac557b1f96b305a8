"""The network that was read, with names: layers are called as the path of their weights in the tree of parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.interchange.model_readers import ReadModel
from cnnbench.spec.layers import Flatten, GlobalAvgPool, GlobalMaxPool
from cnnbench.spec.layers.shape import Reshape, Transpose
from cnnbench.spec.passes.layout import channels_first
from cnnbench_jax.reading.draft import Drafted, FixedArray
from cnnbench_jax.reading.traced import TracedFunction

_ROLES = "kernel|weights?|w|biases|bias|b|scale|gamma|beta|offset|running_mean|running_var|moving_mean|moving_var"
_ROLE = re.compile(rf"(^|_)({_ROLES}|mean|var|variance|g|m|v|\d+)$", re.IGNORECASE)
_FOLLOWED = {"transpose", "relu", "relu6", "scalar_affine", "pad", "clip", "tanh", "sigmoid", "elementwise"}
_GLOBAL = {"mean": GlobalAvgPool, "max": GlobalMaxPool}


class Naming:
    """A graph while its values get names.

    Args:
        name: Of the graph.
    """

    def __init__(self, name: str) -> None:
        self.builder = Builder(name)
        self.arrays: dict[str, np.ndarray] = {}
        self.notes: list[str] = []
        self._values: dict[int, Value] = {}
        self._used: dict[str, int] = {}
        self._owners: dict[tuple[str, ...], str] = {}

    def unique(self, name: str) -> str:
        """The name, or with a number where it is taken."""
        count = self._used.get(name, 0)
        self._used[name] = count + 1
        return self.unique(f"{name}_{count}") if count else name

    def declare(self, item: Drafted, name: str, *, whole: bool, last: bool) -> None:
        """Declares an input.

        Args:
            item: The input as the function takes it.
            name: What it is called.
            whole: Whether it holds integers.
            last: Whether its channels come last; the graph's come first.
        """
        shape, rank = item.shape[1:], len(item.shape)
        self._used[name] = 1
        moves = last and rank > 2
        given = (shape[-1], *shape[:-1]) if moves else shape
        value = self.builder.input(name, given, dtype="int" if whole else "float")
        if moves:
            order = (0, *range(2, rank), 1)
            value = self.builder.add(self.unique(f"{name}_layout"), Transpose(permutation=order), value)
        self._values[id(item)] = value

    def value(self, item: Drafted) -> Value:
        """The named value of a drafted one whose inputs have names."""
        return self._values[id(item)]

    def add(self, item: Drafted) -> None:
        """Gives a drafted value its node, and its arrays their names."""
        inputs = [self.value(one) for one in item.inputs]
        name = self.unique(_owner(item))
        sources = tuple(f"{role}={array.name}" for role, array in item.arrays.items())
        owner = self._owners.get((item.kind, *sources)) if item.arrays else None
        if owner is not None:
            try:
                self._values[id(item)] = self.builder.add(name, item.layer, *inputs, weights_of=owner)
                return
            except SpecError:
                self.notes.append(f"{name} has a copy of the weights of {owner}, which it uses otherwise")
        elif item.arrays and all(array.name for array in item.arrays.values()):
            self._owners[(item.kind, *sources)] = name
        if item.kind == "reduce" and not item.layer.keepdims and 0 not in item.layer.axes:
            value = self._reduced(item, name, inputs[0])
        else:
            value = self.builder.add(name, item.layer, *inputs)
        self._values[id(item)] = value
        for role, array in item.arrays.items():
            self.arrays[f"{name}.{role}"] = _stored(array)

    def _reduced(self, item: Drafted, name: str, x: Value) -> Value:
        """With its axes kept, which any layout allows, and then joined."""
        kept = self.builder.add(name, replace(item.layer, keepdims=True), x)
        joined = Flatten() if len(item.shape) == 2 else Reshape(shape=item.shape[1:])
        return self.builder.add(self.unique(f"{name}_view"), joined, kept)


def _owner(item: Drafted) -> str:
    """The path of a layer's weights without what they are in it."""
    for array in item.arrays.values():
        if array.name and item.kind == "parameter":
            return array.name
        if array.name:
            head, _, end = array.name.rpartition(".")
            return ".".join(filter(None, (head, _ROLE.sub("", end)))) or item.kind
    if item.kind in ("elementwise", "reduce"):
        return str(item.layer.function)
    return item.kind


def _stored(array: FixedArray) -> np.ndarray:
    """A weight in float32 where that holds it exactly."""
    wide = np.array(array.array, np.float64, order="C")
    narrow = wide.astype(np.float32)
    return narrow if np.array_equal(narrow, wide, equal_nan=True) else wide


def in_order(outputs: Sequence[Drafted]) -> list[Drafted]:
    """All values that outputs need, each behind what it reads; inputs are left out.

    Args:
        outputs: The wanted values.
    """
    found: dict[int, Drafted] = {}
    waiting = [(item, False) for item in reversed(outputs)]
    while waiting:
        item, ready = waiting.pop()
        if id(item) in found or item.layer is None:
            continue
        if ready:
            found[id(item)] = item
        else:
            waiting += [(item, True), *((one, False) for one in reversed(item.inputs))]
    return list(found.values())


def channels_come_last(traced: TracedFunction) -> bool:
    """Whether the first layer with windows that reads an input finds its channels in the last axis.

    Args:
        traced: The function.
    """
    for item in in_order(list(traced.outputs.values())):
        if item.kind not in ("conv", "conv_transpose", "max_pool", "avg_pool", "batch_norm"):
            continue
        x, order = item.inputs[0], tuple(range(len(item.shape)))
        while x.kind in _FOLLOWED:
            if x.kind == "transpose":
                order = tuple(x.layer.permutation[axis] for axis in order)
            x = x.inputs[0]
        if x.layer is None and len(order) > 2:
            return order[1] == len(order) - 1
    return False


def named(traced: TracedFunction, name: str, integers: Sequence[bool]) -> ReadModel:
    """The graph with channels first, and its arrays.

    Args:
        traced: The function.
        name: What the graph is called.
        integers: Whether each input holds integers.
    """
    last, naming, many = channels_come_last(traced), Naming(name), len(traced.inputs) > 1
    for i, (item, whole) in enumerate(zip(traced.inputs, integers, strict=True)):
        naming.declare(item, f"input{i}" if many else "input", whole=whole, last=last)
    for item in in_order(list(traced.outputs.values())):
        naming.add(item)
    outputs = {}
    for key, item in traced.outputs.items():
        value, rank = naming.value(item), len(item.shape)
        if is_moved(rank, traced, last=last):
            order = (0, rank - 1, *range(1, rank - 1))
            value = naming.builder.add(naming.unique("output_layout"), Transpose(permutation=order), value)
        outputs[key] = value
    graph = _with_global_pools(channels_first(naming.builder.build(outputs)))
    specs = {item.name for item in (*graph.named_weights(), *graph.named_state())}
    arrays = {key: array for key, array in naming.arrays.items() if key in specs}
    return ReadModel(graph, arrays, tuple(dict.fromkeys((*traced.draft.notes, *naming.notes))))


def is_moved(rank: int, traced: TracedFunction, *, last: bool) -> bool:
    """Whether an output is an image of the input's layout, whose channels move to the front.

    Args:
        rank: Of the output.
        traced: The function.
        last: Whether the input's channels come last.
    """
    return last and rank > 2 and rank == len(traced.inputs[0].shape)


def _with_global_pools(graph: Graph) -> Graph:
    nodes = []
    for node in graph.nodes:
        layer: Any = node.layer
        rank = len(graph.input_shapes(node)[0]) if node.inputs else 0
        if layer.kind == "reduce" and rank > 2 and layer.axes == tuple(range(2, rank)):
            pool = _GLOBAL.get(layer.function)
            node = node if pool is None else replace(node, layer=pool(keep_spatial=layer.keepdims))
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))
