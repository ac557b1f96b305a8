"""Guided backpropagation and deconvnet: backpropagation with a modified rule at every ReLU, on unmodified backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.host import cotangent_name
from cnnbench.spec.graph import Graph, Node, producer
from cnnbench.views.cuts import opened, opening
from cnnbench.views.network import AT_ONCE, ViewedNetwork
from cnnbench.views.view import NetworkView, Panel, ViewRequest, ViewResult

Array = NDArray[Any]
Rule = Callable[[Array], Array]
KINDS = ("relu", "relu6")
STRONGEST = 99.0  # the percentile of a gradient that is drawn as its largest


def through_rectifiers(network: ViewedNetwork, request: ViewRequest, *, guided: bool, positive: bool = True) -> Array:
    """The class score's gradient (N, C, H, W), where every ReLU passes back only the gradient's positive part.

    The graph, in primitive kinds, is cut behind every ReLU. The backend differentiates the pieces as they are, and the
    gradient at each cut is clipped to its positive part on the host. Guided backpropagation passes it on as the
    cotangent of the ReLU's output, so that the ReLU's own derivative applies. Deconvnet passes it on as the cotangent
    of the ReLU's input, whatever that input's sign. One program contains all pieces. It is called as often as there are
    ReLUs on the longest path, after which the gradient of the image is complete.

    Args:
        network: Whose ReLUs they are.
        request: Its images and classes.
        guided: Whether the ReLU's own backward pass is taken, too.
        positive: Whether only what is positive goes on; else with ``guided`` it is the plain gradient.
    """
    whole = network.lowered.prefix([network.scores])
    nodes = {node.name: node for node in whole.nodes if node.layer.kind in KINDS}
    sent = {name: name if guided else node.inputs[0] for name, node in nodes.items()}
    part = opened(whole, list(nodes)).prefix([network.scores, *dict.fromkeys(sent.values())])
    inner = network.values(request.images, list(nodes), whole) if nodes else {}
    hot = network.one_hot(request.classes)
    found = []
    for start in range(0, len(request.images), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        batch = {network.input: request.images[rows], **{opening(name): inner[name][rows] for name in nodes}}
        gradients: dict[str, Array] = {opening(name): np.zeros_like(inner[name][rows]) for name in nodes}
        for _ in range(depth(whole, nodes) + 1):
            cotangents = {network.scores: np.asarray(hot[rows])}
            for name, value in sent.items():
                back = np.maximum(gradients[opening(name)], 0 if positive else -np.inf)
                cotangents[value] = cotangents[value] + back if value in cotangents else back
            of = {cotangent_name(value): g for value, g in cotangents.items()}
            gradients = dict(network.runner.gradient(part, network.arrays, {**batch, **of}))
        found.append(gradients[network.input])
    return np.concatenate(found)


def depth(graph: Graph, nodes: dict[str, Node]) -> int:
    """The largest number of these nodes on any path through the graph."""
    longest: dict[str, int] = {}
    for node in graph.nodes:
        before = max((longest.get(producer(value), 0) for value in node.inputs), default=0)
        longest[node.name] = before + (node.name in nodes)
    return max(longest.values(), default=0)


def _view(network: ViewedNetwork, request: ViewRequest, name: str, *, guided: bool) -> ViewResult:
    gradient = through_rectifiers(network, request, guided=guided)
    panels: list[Panel] = []
    for image, item, kind in zip(request.images, gradient, request.classes, strict=True):
        title = f"{name} of class {kind}"
        strongest = float(np.percentile(np.abs(item), STRONGEST)) or 1.0
        shown = np.clip(item / (2 * strongest) + 0.5, 0, 1) if len(item) == 3 else item
        panels += [Panel("image", image, "image"), Panel(title, shown, "image" if len(item) == 3 else "signed")]
    return ViewResult({name: gradient}, (name,), tuple(panels))


def guided_backpropagation(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    """Guided backpropagation: the gradient passes a ReLU where both its input and the gradient are positive."""
    return _view(network, request, "guided_backpropagation", guided=True)


def deconvnet(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    """Deconvnet: the gradient passes a ReLU where the gradient is positive, whatever the ReLU's input."""
    return _view(network, request, "deconvnet", guided=False)


VIEWS = (
    NetworkView(
        "guided_backpropagation",
        "the gradient of the class's score along paths that are positive forward and backward",
        "at every ReLU: R = (input > 0) max(R', 0), R' what comes back",
        'Springenberg et al., "Striving for simplicity" (2014), section 3.4',
        guided_backpropagation,
        ("image", "class"),
    ),
    NetworkView(
        "deconvnet",
        "the class's score projected down to the image by a deconvolutional network",
        "at every ReLU: R = max(R', 0), R' what comes back; max pooling by its switches",
        'Zeiler, Fergus, "Visualizing and understanding convolutional networks" (2013), section 2.1',
        deconvnet,
        ("image", "class"),
    ),
)
