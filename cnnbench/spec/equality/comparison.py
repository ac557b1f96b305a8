"""Compares two networks whose nodes with weights have the same names: what each of them reads, and how it computes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cnnbench.spec.equality.elements import ZERO, Labels, Ledger, digest, fresh
from cnnbench.spec.equality.operations import apply, padded
from cnnbench.spec.graph import Graph, Node, value_names

# Fields that say how many weights there are, how they are laid out, or what only training asks.
_OF_ARRAYS = {"bias", "affine", "biases", "gate_order", "out_channels", "out_features", "padding_idx", "initial"}
_OF_TRAINING = ("momentum", "running_variance")
_WITH_PADDING = {"conv", "scaled_ws_conv", "partial_conv"}
_EACH_CHANNEL = {"batch_norm", "prelu", "channel_affine"}


@dataclass(frozen=True)
class Read:
    """A node with weights, as the comparison sees it.

    Args:
        kind: A linear layer for what computes as one, such as a 1x1 convolution.
        fields: How it computes, beside its inputs and weights.
        views: What it reads, with the axis to which its weights belong last.
        node: The node itself.
        training: How it trains, where that is asked of its kind.
    """

    kind: str
    fields: Mapping[str, Any]
    views: tuple[Labels, ...]
    node: Node
    training: Mapping[str, Any]


@dataclass
class NetworkComparison:
    """What a comparison found.

    Args:
        orders: By node, the place in the other network of each input of a node whose inputs stand in another order.
        differences: What the other network computes otherwise.
        training: What the other network does otherwise in training only.
        epsilons: Of the other network's normalisations that hold it in their variance, by node.
    """

    orders: dict[str, Any] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    training: list[str] = field(default_factory=list)
    epsilons: dict[str, float] = field(default_factory=dict)


def compare(ours: Graph, theirs: Graph) -> NetworkComparison:
    """Where ``theirs`` computes something else than ``ours``.

    Values may be kept in other layouts, and axes may be joined in another order: elements are followed one by one.
    Of differences, those of one node do not count again behind it.

    Args:
        ours: A network of primitive kinds.
        theirs: Another, whose nodes with weights have the names of those of ``ours`` that they stand for; so have its
            inputs, and its outputs come in the same order.
    """
    found, ledger = NetworkComparison(), Ledger()
    one, values = _trace(ours, ledger, {}, found)
    two, others = _trace(theirs, ledger, one, found)
    for name in one:
        if name in two:
            _compare_reads(one[name], two[name], ledger, found)
        else:
            found.differences.append(f"{name} is not in the file's network")
    found.differences += [f"{name} is in the file's network only" for name in two if name not in one]
    for (name, value), (_, other) in zip(ours.outputs, theirs.outputs, strict=False):
        if digest(values[value]) != digest(others[other]):
            _differing(f"the output {name}", values[value], others[other], ledger, found)
    return found


def _trace(
    graph: Graph, ledger: Ledger, before: Mapping[str, Read], found: NetworkComparison
) -> tuple[dict[str, Read], dict[str, Labels]]:
    """The reads of the nodes with weights, and every value's labels."""
    shapes = graph.shapes()
    values = {
        item.name: fresh(ledger.block(("input", item.name), math.prod(shapes[item.name]), item.name), shapes[item.name])
        for item in graph.inputs
    }
    reads: dict[str, Read] = {}
    for node in graph.nodes:
        inputs = [values[value] for value in node.inputs]
        outputs = graph.output_shapes(node)
        read = graph.input_shapes(node)
        if node.layer.weights(read) or node.layer.state(read):
            reads[node.name] = _read(node, inputs)
            made = _made(reads[node.name], before.get(node.name), outputs, ledger, found)
        else:
            made = apply(ledger, node.layer, inputs, outputs)
        values |= dict(zip(value_names(node.name, len(made)), made, strict=True))
    return reads, values


def _read(node: Node, inputs: list[Labels]) -> Read:
    layer: Any = node.layer
    kind = layer.kind
    fields = {name: value for name, value in layer.fields().items() if name not in (*_OF_ARRAYS, *_OF_TRAINING)}
    training = {name: getattr(layer, name) for name in _OF_TRAINING if hasattr(layer, name)}
    views = tuple(inputs)
    if kind == "frozen_batch_norm":
        kind = "batch_norm"
    if kind in _WITH_PADDING:
        views = (np.moveaxis(padded(inputs[0], layer.padding, ZERO), 1, -1),)
        fields.pop("padding")
        if kind == "conv" and _is_pointwise(layer, views[0]):
            kind, fields, views = "linear", {}, (views[0].reshape(-1, views[0].shape[-1]),)
    elif kind == "linear":
        views = (inputs[0].reshape(-1, inputs[0].shape[-1]),)
    elif kind in _EACH_CHANNEL:
        views = (np.moveaxis(inputs[0], 1, -1),)
    elif kind == "layer_norm":
        start = fields.pop("start_axis")
        views = (inputs[0].reshape(*inputs[0].shape[:start], -1),)
    return Read(kind, fields, views, node, training)


def _is_pointwise(layer: Any, view: Labels) -> bool:
    """Whether it is a linear layer at each position, or one over all of them."""
    if set(layer.kernel_size) != {1} or layer.groups != 1:
        return False
    return set(layer.stride) == {1} or set(view.shape[1:-1]) == {1}


def _made(read: Read, before: Read | None, shapes: Any, ledger: Ledger, found: NetworkComparison) -> list[Labels]:
    """The elements that a node with weights makes, in the order of the network that was traced first."""
    name = read.node.name
    blocks = [ledger.block(("node", name, i), math.prod(shape), name) for i, shape in enumerate(shapes)]
    if read.kind == "linear":  # in the order of a linear layer, whichever layout it is kept in
        shape = shapes[0]
        if read.node.layer.kind == "linear":
            return [fresh(blocks[0], shape)]
        return [np.moveaxis(fresh(blocks[0], (shape[0], *shape[2:], shape[1])), -1, 1)]
    if before is None or read.kind not in (*_EACH_CHANNEL, "layer_norm"):
        return [fresh(block, shape) for block, shape in zip(blocks, shapes, strict=True)]
    order = _order(before.views[0], read.views[0])
    if order is None or before.views[0].shape != read.views[0].shape:
        return [fresh(block, shape) for block, shape in zip(blocks, shapes, strict=True)]
    view = _arranged(before, blocks[0])[..., np.argsort(order)]  # order is the place in theirs of each of ours
    return [np.moveaxis(view, -1, 1) if read.kind in _EACH_CHANNEL else view.reshape(shapes[0])]


def _arranged(before: Read, block: Any) -> Labels:
    """The block's elements as the view of the node that made them first."""
    view = before.views[0]
    if before.kind in _EACH_CHANNEL:
        return np.moveaxis(fresh(block, (view.shape[0], view.shape[-1], *view.shape[1:-1])), 1, -1)
    return fresh(block, view.shape)


def _order(ours: Labels, theirs: Labels) -> Any:
    """The place in ``theirs`` of each element of our last axis, the same at all positions; None where there is none.

    Of equal elements, such as zeros around an image, any may stand for any.
    """
    if ours.shape != theirs.shape:
        return None
    size = ours.shape[-1]
    if np.array_equal(ours, theirs):
        return np.arange(size)
    one, two = ours.reshape(-1, size), theirs.reshape(-1, size)
    row = int(np.argmax((one >= 0).sum(axis=1)))
    order = np.empty(size, np.int64)
    order[np.argsort(one[row], kind="stable")] = np.argsort(two[row], kind="stable")
    return order if np.array_equal(one, two[:, order]) else None


def _compare_reads(ours: Read, theirs: Read, ledger: Ledger, found: NetworkComparison) -> None:
    name = ours.node.name
    if ours.kind != theirs.kind:
        found.differences.append(f"{name}: {ours.kind} here, {theirs.kind} in the file")
        return
    for key in sorted({*ours.fields, *theirs.fields}):
        one, two = ours.fields.get(key), theirs.fields.get(key)
        if one == two:
            continue
        if key == "eps" and ours.kind == "batch_norm" and two is not None:
            found.epsilons[name] = float(two)
        else:
            found.differences.append(f"{name}: {key} {_shown(one)} here, {_shown(two)} in the file")
    for key in sorted({*ours.training} & {*theirs.training}):
        one, two = ours.training[key], theirs.training[key]
        if one != two:
            found.training.append(f"{key} {_shown(one)} here, {_shown(two)} in the file")
    orders = [_order(one, two) for one, two in zip(ours.views, theirs.views, strict=False)]
    fixed = ours.kind not in (*_EACH_CHANNEL, "layer_norm", "linear", "conv") or ours.fields.get("groups", 1) != 1
    for order, one, two in zip(orders, ours.views, theirs.views, strict=False):
        if order is None or (fixed and not np.array_equal(one, two)):
            _differing(name, one, two, ledger, found)
        elif not np.array_equal(order, np.arange(len(order))):
            found.orders[name] = order


def _differing(name: str, ours: Labels, theirs: Labels, ledger: Ledger, found: NetworkComparison) -> None:
    core, other = _without_border(ours), _without_border(theirs)
    if core[0].shape == other[0].shape and np.array_equal(core[0], other[0]):
        found.differences.append(f"{name} pads {core[1]} here, {other[1]} in the file")
        return
    one, two = ledger.text(ours), ledger.text(theirs)
    if one == two:
        one, two = f"{one} of shape {ours.shape}", f"{two} of shape {theirs.shape}"
        if ours.shape == theirs.shape:
            one, two = one, f"{two} in another order"
    found.differences.append(f"{name} reads {one} here, {two} in the file")


def _without_border(view: Labels) -> tuple[Labels, tuple[tuple[int, int], ...]]:
    """(what lies inside zeros around positions, the (begin, end) of those zeros for each axis of positions)."""
    pairs = []
    for axis in range(1, view.ndim - 1):
        inside = np.flatnonzero((view != ZERO).any(axis=tuple(i for i in range(view.ndim) if i != axis)))
        begin, end = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, view.shape[axis])
        pairs.append((begin, view.shape[axis] - end))
        view = np.take(view, range(begin, end), axis=axis)
    return view, tuple(pairs)


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
