"""Networks in which nodes share weights, and the same networks with a copy for each use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cnnbench.spec import layers as L
from cnnbench.spec.composites import TrainableSubsample
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers.merge import Subtract
from cnnbench.spec.weights import initialize


def siamese() -> Graph:
    """Two images through the same convolution, batch norm and linear layer; their difference is classified."""
    b = Builder("siamese")
    images = [b.input(side, (3, 8, 9)) for side in ("left", "right")]
    owners: dict[str, str] = {}

    def shared(side: str, name: str, layer: L.Layer, x: Any) -> Any:
        y = b.add(f"{side}.{name}", layer, x, weights_of=owners.get(name))
        owners.setdefault(name, f"{side}.{name}")
        return y

    found = []
    for image in images:
        side = image.name + "_branch"
        x = shared(side, "conv", L.Conv(out_channels=4, kernel_size=3, padding=1), image)
        x = b.add(f"{side}.relu", L.ReLU(), shared(side, "norm", L.BatchNorm(), x))
        x = b.add(f"{side}.pool", L.GlobalAvgPool(), x)
        found.append(shared(side, "embed", L.Linear(out_features=5), x))
    return b.build({"logits": b.add("classify", L.Linear(out_features=3), b.add("difference", Subtract(), *found))})


def pyramid_head() -> Graph:
    """A head of shared convolutions over two levels of other sizes, with a batch norm of its own for each level."""
    b = Builder("pyramid head")
    x = b.input("image", (3, 13, 14))
    p3 = b.add("stem", L.Conv(out_channels=4, kernel_size=3, padding="same"), x)
    levels = {"p3": p3, "p4": b.add("down", L.MaxPool(kernel_size=2), p3)}
    found = []
    for level, x in levels.items():
        first = level == "p3"
        conv = L.Conv(out_channels=4, kernel_size=3, padding="same", bias=False)
        x = b.add(f"{level}.conv", conv, x, weights_of=None if first else "p3.conv")
        x = b.add(f"{level}.relu", L.ReLU(), b.add(f"{level}.norm", L.BatchNorm(), x))
        predict = L.Conv(out_channels=6, kernel_size=(3, 1), stride=2, padding="same")
        x = b.add(f"{level}.predict", predict, x, weights_of=None if first else "p3.predict")
        found.append(b.add(f"{level}.pool", L.GlobalAvgPool(), x))
    return b.build({"logits": b.add("total", L.Add(), *found)})


def recurrence(steps: int = 3) -> Graph:
    """h <- tanh(W h + b + U x), unrolled; every step uses the first one's W and b."""
    b = Builder("recurrence")
    x = b.input("x", (5,))
    h = drive = b.add("drive", L.Linear(out_features=4, bias=False), x)
    for step in range(steps):
        owner = None if step == 0 else f"step{step - 1}.linear"
        h = b.add(f"step{step}.linear", L.Linear(out_features=4), h, weights_of=owner)
        h = b.add(f"step{step}.tanh", L.Tanh(), b.add(f"step{step}.add", L.Add(), h, drive))
    return b.build({"logits": b.add("read", L.Linear(out_features=3), h)})


def composites() -> Graph:
    """A composite kind applied to two sizes: its parts share part by part."""
    b = Builder("composites")
    x = b.input("image", (6, 8, 12))
    y = b.add("first", TrainableSubsample(kernel_size=2), x)
    z = b.add("second", TrainableSubsample(kernel_size=2), y, weights_of="first")
    pooled = [b.add(f"pool{i}", L.GlobalAvgPool(), value) for i, value in enumerate((y, z))]
    return b.build({"logits": b.add("total", L.Add(), *pooled)})


def twice_normalised() -> Graph:
    """One batch norm applied twice in a row, so that the order of the two updates shows in the running statistics."""
    b = Builder("twice normalised")
    x = b.add("norm", L.BatchNorm(momentum=0.3), b.input("image", (3, 5, 4)))
    x = b.add("again", L.BatchNorm(momentum=0.3), b.add("tanh", L.Tanh(), x), weights_of="norm")
    return b.build({"logits": b.add("fc", L.Linear(out_features=3), b.add("pool", L.GlobalAvgPool(), x))})


NETWORKS: dict[str, Callable[[], Graph]] = {
    function.__name__: function for function in (siamese, pyramid_head, recurrence, composites, twice_normalised)
}


def general_arrays(graph: Graph, seed: int = 0) -> dict[str, Any]:
    """Weights and statistics in general position: none is 0, 1 or the same as another."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, array in initialize(graph, seed).items():
        drawn = rng.normal(size=array.shape)
        found[name] = np.abs(drawn) + 0.5 if name.endswith("running_var") else drawn * 0.7 + 0.1
    return {name: array.astype(np.float32) for name, array in found.items()}


def general_batch(graph: Graph, size: int = 3, seed: int = 1) -> dict[str, Any]:
    """Normal images and classes of three."""
    rng = np.random.default_rng(seed)
    batch = {item.name: rng.normal(size=item.full_shape(size)).astype(np.float32) for item in graph.inputs}
    return batch | {"targets": rng.integers(0, 3, size)}


def unshared(graph: Graph) -> Graph:
    """Every node with weights of its own."""
    return replace(graph, nodes=tuple(replace(node, weights_of=None) for node in graph.nodes))


def owners(graph: Graph) -> dict[str, str]:
    """For each array of ``unshared(graph)``, the array of ``graph`` that it is a copy of."""
    copies = unshared(graph)
    return {
        f"{node.name}.{spec.name}": f"{node.owner}.{spec.name}"
        for node in graph.nodes
        for specs in (node.layer.weights(copies.input_shapes(node)), node.layer.state(copies.input_shapes(node)))
        for spec in specs
    }


def copied(graph: Graph, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of ``unshared(graph)``."""
    return {copy: arrays[owner] for copy, owner in owners(graph).items()}


def summed(graph: Graph, gradients: Mapping[str, Any]) -> dict[str, Any]:
    """For each weight of ``graph``, the sum of its copies' gradients."""
    total: dict[str, Any] = defaultdict(float)
    for copy, owner in owners(graph).items():
        if copy in gradients:
            total[owner] = total[owner] + np.asarray(gradients[copy], np.float64)
    return dict(total)
