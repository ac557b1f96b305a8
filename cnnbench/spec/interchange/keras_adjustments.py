"""Moves what Keras' layers have otherwise into the arrays of a network's nodes, without a change of any prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cnnbench.errors import DataError
from cnnbench.spec.graph import Graph, Node
from cnnbench.spec.layers import Shape

if TYPE_CHECKING:
    from cnnbench.spec.weights import Array

Change = Callable[[Graph, dict[str, Any], dict[str, Shape]], list[str]]
_NORMS = ("batch_norm", "frozen_batch_norm", "layer_norm", "group_norm")
_ABSENT = {  # by whether the layer is a normalisation, and the role of the array
    (True, "weight"): "normalisations have no scale in the file (scale=False): 1",
    (True, "bias"): "normalisations have no shift in the file (center=False): 0",
    (False, "bias"): "layers have no bias in the file (use_bias=False): 0",
}


def _norms(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.layer.kind == "batch_norm"]


def with_defaults(graph: Graph, found: dict[str, Array], expected: dict[str, Shape]) -> list[str]:
    """Scales and shifts of normalisations, and biases, that a layer of the file was made without: 1 and 0.

    Args:
        graph: The network.
        found: Its arrays so far.
        expected: The shapes of all.
    """
    import numpy as np

    counts: dict[str, int] = {}
    for node in graph.nodes:
        own = [name for name in expected if name.rpartition(".")[0] == node.name]
        if not any(name in found for name in own):
            continue
        for name in own:
            role = name.rpartition(".")[2]
            what = _ABSENT.get((node.layer.kind in _NORMS, role))
            if name not in found and what is not None:
                found[name] = np.full(expected[name], 1 if role == "weight" else 0, np.float32)
                counts[what] = counts.get(what, 0) + 1
    return [f"{count} {what}" for what, count in counts.items()]


def without_biases(graph: Graph, found: dict[str, Array], expected: dict[str, Shape]) -> list[str]:
    """norm(x + b) with mean m is norm(x) with mean m - b; arrays that several nodes use are left as they are.

    Args:
        graph: The network.
        found: Its arrays so far, which are changed.
        expected: The shapes of all.
    """
    moved = 0
    consumers = graph.consumers()
    for node in graph.nodes:
        name = f"{node.name}.bias"
        if node.layer.kind != "conv" or name not in found or name in expected:
            continue
        behind = consumers.get(node.name, [])
        mean = f"{behind[0].name}.running_mean" if len(behind) == 1 else ""
        shared = node.name in graph.sharing or (mean and behind[0].name in graph.sharing)
        if mean in found and not shared:
            found[mean] = (found[mean].astype("float64") - found.pop(name)).astype("float32")
            moved += 1
    return [f"{moved} biases of convolutions went into the running means of the norms behind them"] if moved else []


def with_auxiliary(graph: Graph, found: dict[str, Array], expected: dict[str, Shape]) -> list[str]:
    """Keras' InceptionV3 has no auxiliary classifier.

    Args:
        graph: The network.
        found: Its arrays so far, which are changed.
        expected: The shapes of all.
    """
    from cnnbench.spec.weights import initialize

    missing = [name for name in expected if name not in found]
    if not missing or not all(name.startswith("AuxLogits.") for name in missing):
        return []
    drawn = initialize(graph, 0)
    found |= {name: drawn[name] for name in missing}
    return [f"the file has no auxiliary classifier: {len(missing)} arrays of AuxLogits are drawn from seed 0"]


def with_epsilons(
    graph: Graph, found: dict[str, Array], epsilons: dict[str, float], default: float | None
) -> list[str]:
    """(v + a) + e is v + (a + e): another epsilon becomes a part of the variance.

    Args:
        graph: The network.
        found: Its arrays so far, which are changed.
        epsilons: Of the file's norms, by node.
        default: Of the others, None for that of the network.

    Raises:
        DataError: The file's is so much less that a variance would be negative.
    """
    moved: dict[tuple[float, float], int] = {}
    for node in _norms(graph):
        name = f"{node.name}.running_var"
        theirs, ours = epsilons.get(node.name, default), float(getattr(node.layer, "eps", 0.0))
        if name not in found or theirs is None or theirs == ours or node.name.startswith("AuxLogits."):
            continue
        moved[(theirs, ours)] = moved.get((theirs, ours), 0) + 1
        changed = found[name].astype("float64") + (theirs - ours)
        if (changed < 0).any() and (found[name] >= 0).all():
            raise DataError(f"the epsilon of {node.name} is too small", received=theirs, expected=f"{ours} or more")
        found[name] = changed.astype("float32")
    return [
        f"epsilon {theirs:g} in {count} norms, {ours:g} here: the running variances hold the difference"
        for (theirs, ours), count in moved.items()
    ]
