"""Neural style transfer: the content of one image in the style of another, by Adam and by L-BFGS."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import SuiteError
from cnnbench.spec.layers import ReLU, ReLU6
from cnnbench.views.descent import Descended, ValueAndGradient, adam, lbfgs
from cnnbench.views.network import ViewedNetwork
from cnnbench.views.view import NetworkView, Panel, ViewRequest, ViewResult

Array = NDArray[Any]
LAYERS = 5  # of which the style is taken where none is named


def gram(maps: Array) -> Array:
    """The Gram matrix G_ij = sum_k F_ik F_jk over positions k: (1, K, H, W) -> (K, K)."""
    flat = maps.reshape(maps.shape[1], -1).astype(np.float64)
    return flat @ flat.T


def layers_of(network: ViewedNetwork, request: ViewRequest) -> tuple[str, list[str]]:
    """The node of the content and the nodes of the style.

    They are the named nodes, the content's first. Without names they are spread over the network's feature maps.

    Raises:
        SuiteError: The network has no feature maps, or the output of a named node is none.
    """
    maps = [node.name for node in network.maps]
    named = [network.node(name).name for name in request.nodes]
    wrong = next((name for name in named if name not in maps), None)
    if wrong is not None or not maps:
        raise SuiteError("the style is taken of feature maps", where="--node", received=wrong, expected="(N, C, H, W)")
    if named:
        return named[0], named[1:] or named
    rectified = [node.name for node in network.maps if isinstance(node.layer, ReLU | ReLU6)] or maps
    spread = [rectified[int(i)] for i in np.linspace(0, len(rectified) - 1, min(LAYERS, len(rectified)))]
    return spread[-2] if len(spread) > 1 else spread[-1], spread


def style_objective(network: ViewedNetwork, request: ViewRequest) -> ValueAndGradient:
    """The loss |F - F0|^2 / 2 + style mean_l |G_l - A_l|^2 / (4 K_l^2 M_l^2) and its gradient, of an image."""
    assert request.style is not None
    content, styles = layers_of(network, request)
    names = list(dict.fromkeys([content, *styles]))
    kept = network.values(request.images[:1], [content])[content].astype(np.float64)
    wanted = {name: gram(maps) for name, maps in network.values(request.style, styles).items()}
    weight = request.settings["style"] / len(styles)

    def objective(x: Array) -> tuple[float, Array]:
        image = np.asarray(x, np.float32)
        found = {name: maps.astype(np.float64) for name, maps in network.values(image, names).items()}
        cotangents = {name: np.zeros_like(maps) for name, maps in found.items()}
        gap = found[content] - kept
        value = 0.5 * float((gap**2).sum())
        cotangents[content] += gap
        for name in styles:
            maps = found[name]
            channels, places = maps.shape[1], maps[0, 0].size
            apart = gram(maps) - wanted[name]
            value += weight * float((apart**2).sum()) / (4 * channels**2 * places**2)
            pulled = apart @ maps.reshape(channels, -1) / (channels**2 * places**2)
            cotangents[name] += weight * pulled.reshape(maps.shape)
        return value, network.gradient(image, {name: g.astype(np.float32) for name, g in cotangents.items()})

    return objective


def _result(request: ViewRequest, found: Descended, how: str) -> ViewResult:
    assert request.style is not None
    arrays = {"image": found.image, "first_gradient": found.first_gradient, "values": np.asarray(found.values)}
    panels = (
        Panel("content", request.images[0], "image"),
        Panel("style", request.style[0], "image"),
        Panel(how, found.image[0], "image"),
    )
    figures = {"loss_at_start": found.values[0], "loss_at_end": found.values[-1]}
    return ViewResult(arrays, ("first_gradient",), panels, figures)


def style_adam(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    """Style transfer by Adam, starting from the image of the content."""
    steps = 0 if request.compared_only else int(request.settings["steps"])
    objective = style_objective(network, request)
    return _result(request, adam(objective, request.images[:1], steps, request.settings["rate"]), "Adam")


def style_lbfgs(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    """Style transfer by L-BFGS, starting from the image of the content."""
    steps = 0 if request.compared_only else int(request.settings["steps"])
    return _result(request, lbfgs(style_objective(network, request), request.images[:1], steps), "L-BFGS")


SOURCE = 'Gatys, Ecker, Bethge, "Image style transfer using convolutional neural networks" (2016), equations 1 to 7'
FORMULA = "|F - F0|^2 / 2 + style mean_l |G_l - A_l|^2 / (4 K_l^2 M_l^2), G the products of channels"
VIEWS = (
    NetworkView(
        "style_adam",
        "the content of the image in the style of another, by Adam",
        FORMULA,
        SOURCE,
        style_adam,
        ("image", "style"),
        {"steps": 100, "rate": 0.02, "style": 1000},
    ),
    NetworkView(
        "style_lbfgs",
        "the content of the image in the style of another, by L-BFGS",
        FORMULA,
        SOURCE,
        style_lbfgs,
        ("image", "style"),
        {"steps": 50, "style": 1000},
    ),
)
