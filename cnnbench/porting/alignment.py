"""Aligns two networks: which node of one stands for which of the other, by structure, shapes, weights and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.porting.normal_form import PlainNetwork
from cnnbench.spec.graph import Graph, Node, producer
from cnnbench.spec.layers import Shapes

_FAMILIES = (
    {"relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "hard_swish", "mish", "prelu", "softplus"}
    | {"tanh", "sigmoid", "hard_sigmoid", "softsign", "clip", "thresholded_relu"},
    {
        "max_pool",
        "avg_pool",
        "lp_pool",
        "min_pool",
        "subsample",
        "global_avg_pool",
        "global_max_pool",
        "adaptive_avg_pool",
    },
    {"batch_norm", "group_norm", "layer_norm", "instance_norm", "frozen_batch_norm", "rms_norm"},
    {"conv", "linear", "conv_transpose", "scaled_ws_conv"},
    {"lstm", "gru", "rnn"},
    {"add", "multiply", "subtract", "divide", "maximum", "minimum", "mean", "concat"},
    {"softmax", "log_softmax", "hardmax"},
    {"flatten", "reshape", "squeeze", "unsqueeze", "transpose"},
)
_FAMILY = {kind: i for i, kinds in enumerate(_FAMILIES) for kind in kinds}
_COMMUTES = {"add", "multiply", "maximum", "minimum", "mean"}
_GAP = -0.4
_IMPOSSIBLE = -1e9


class NodePair(NamedTuple):
    """A node of the reference and the node of the candidate that stands for it."""

    reference: Node
    candidate: Node


@dataclass(frozen=True)
class Alignment:
    """The correspondence between the nodes of two networks.

    Args:
        pairs: Corresponding nodes, in the order of the reference.
        missing: Nodes of the reference without a counterpart in the candidate.
        extra: Nodes of the candidate without a counterpart in the reference.
    """

    pairs: tuple[NodePair, ...]
    missing: tuple[Node, ...]
    extra: tuple[Node, ...]


class _Facts(NamedTuple):
    """The properties of a node by which it is matched."""

    node: Node
    family: object
    outputs: Shapes
    weights: tuple[Any, ...]
    sizes: tuple[float, ...]
    words: frozenset[str]


def align(reference: PlainNetwork, candidate: PlainNetwork) -> Alignment:
    """The alignment of two networks in normal form in which the most agrees.

    Nodes are put into an order that depends on structure alone; the two sequences are aligned as a whole, so that a
    missing or an extra layer does not move what stands behind it.
    """
    ours, theirs = (_facts(network) for network in (reference, candidate))
    scores = np.array([[_score(one, two) for two in theirs] for one in ours]).reshape(len(ours), len(theirs))
    matched = _best_path(scores)
    pairs = tuple(NodePair(ours[i].node, theirs[j].node) for i, j in matched)
    first, second = {pair.reference.name for pair in pairs}, {pair.candidate.name for pair in pairs}
    return Alignment(
        pairs,
        tuple(item.node for item in ours if item.node.name not in first),
        tuple(item.node for item in theirs if item.node.name not in second),
    )


def ordered(graph: Graph) -> list[Node]:
    """The nodes in an order in which each follows what it reads, and which does not depend on how they were written.

    Of operands that may be exchanged, the one with more behind it comes first: a block's main path before its shortcut.
    """
    nodes = {node.name: node for node in graph.nodes}
    masks: dict[str, int] = {}
    for i, node in enumerate(graph.nodes):
        mask = 1 << i
        for value in node.inputs:
            mask |= masks.get(producer(value), 0)
        masks[node.name] = mask
    found: list[Node] = []
    seen: set[str] = set()
    waiting = [(producer(value), False) for _, value in reversed(graph.outputs)]
    while waiting:
        name, ready = waiting.pop()
        if name not in nodes or name in seen:
            continue
        if ready:
            seen.add(name)
            found.append(nodes[name])
            continue
        waiting.append((name, True))
        inputs = [producer(value) for value in nodes[name].inputs]
        if nodes[name].layer.kind in _COMMUTES:
            inputs.sort(key=lambda item: -masks.get(item, 0).bit_count())
        waiting.extend((item, False) for item in reversed(inputs))
    return found


def _facts(network: PlainNetwork) -> list[_Facts]:
    graph = network.graph
    found = []
    for node in ordered(graph):
        shapes = graph.input_shapes(node)
        specs = node.layer.weights(shapes)
        arrays = [network.arrays.get(f"{node.owner}.{spec.name}") for spec in specs[:1]]
        sizes = tuple(_size(array) for array in arrays if array is not None)
        kind = node.layer.kind
        words = frozenset(node.name.lower().replace("_", ".").split("."))
        weights = tuple(sorted(spec.shape for spec in specs))
        found.append(_Facts(node, _FAMILY.get(kind, kind), graph.output_shapes(node), weights, sizes, words))
    return found


def _size(array: NDArray[Any]) -> float:
    """The mean square, which no order of the elements changes."""
    return float(np.square(array, dtype=np.float64).mean()) if array.size else 0.0


def _score(one: _Facts, two: _Facts) -> float:
    if one.family != two.family:
        return _IMPOSSIBLE
    score = 3.0 if one.node.layer.kind == two.node.layer.kind else 1.0
    score += 1.0 if one.outputs == two.outputs else 0.0
    score += 0.5 if one.node.layer == two.node.layer else 0.0
    if one.weights or two.weights:
        score += 2.0 if one.weights == two.weights else -1.0
        close = [abs(a - b) <= 1e-4 * max(a, b) for a, b in zip(one.sizes, two.sizes, strict=False)]
        score += 1.5 if close and all(close) else 0.0
    if one.words and two.words:
        score += 0.7 * len(one.words & two.words) / len(one.words | two.words)
    return score


def _best_path(scores: NDArray[Any]) -> list[tuple[int, int]]:
    """The pairs (i, j), both ascending, with the largest sum of scores; what is left out costs ``_GAP``."""
    rows, columns = scores.shape
    best = np.zeros((rows + 1, columns + 1))
    best[1:, 0] = _GAP * np.arange(1, rows + 1)
    best[0, 1:] = _GAP * np.arange(1, columns + 1)
    for i in range(1, rows + 1):
        above, row, current = best[i - 1], scores[i - 1], best[i]
        for j in range(1, columns + 1):
            current[j] = max(above[j - 1] + row[j - 1], above[j] + _GAP, current[j - 1] + _GAP)
    found, i, j = [], rows, columns
    while i and j:
        if best[i, j] == best[i - 1, j - 1] + scores[i - 1, j - 1]:
            found.append((i - 1, j - 1))
            i, j = i - 1, j - 1
        elif best[i, j] == best[i - 1, j] + _GAP:
            i -= 1
        else:
            j -= 1
    return found[::-1]


Rewired = tuple[NodePair, Sequence[str], Sequence[str]]


def rewired(alignment: Alignment, reference: Graph, candidate: Graph) -> list[Rewired]:
    """The pairs that do not read what stands for each other, with what each reads, by the reference's names.

    Nodes that one side alone has are looked through to what they read first.

    Args:
        alignment: Of the two.
        reference: The reference's graph.
        candidate: The candidate's graph.
    """
    partner = {pair.candidate.name: pair.reference.name for pair in alignment.pairs}
    inputs = dict(zip((i.name for i in candidate.inputs), (i.name for i in reference.inputs), strict=False))
    skipped = {node.name: node for node in (*alignment.missing, *alignment.extra)}
    found: list[Rewired] = []
    for pair in alignment.pairs:
        ours = [_through(value, skipped) for value in pair.reference.inputs]
        theirs = [_through(value, skipped) for value in pair.candidate.inputs]
        named = [_renamed(value, partner, inputs) for value in theirs]
        exchange = pair.reference.layer.kind in _COMMUTES
        if (sorted(ours) != sorted(named)) if exchange else (ours != named):
            found.append((pair, ours, named))
    return found


def _through(value: str, skipped: Mapping[str, Node]) -> str:
    node = producer(value)
    while node in skipped and skipped[node].inputs:
        value = skipped[node].inputs[0]
        node = producer(value)
    return value


def _renamed(value: str, partner: Mapping[str, str], inputs: Mapping[str, str]) -> str:
    name = producer(value)
    return inputs.get(value) or partner.get(name, name) + value[len(name) :]
