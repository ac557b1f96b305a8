"""Views of a class's score by gradients: saliency, integrated gradients, Grad-CAM."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.views.network import ViewedNetwork
from cnnbench.views.view import NetworkView, Panel, ViewRequest, ViewResult, over_image

Array = NDArray[Any]


def score_gradient(network: ViewedNetwork, request: ViewRequest) -> Array:
    """The gradient of each image's class score with respect to the image (N, C, H, W)."""
    return network.gradient(request.images, {network.scores: network.one_hot(request.classes)})


def saliency_map(gradient: Array) -> Array:
    """max over channels of |gradient|: (N, C, H, W) -> (N, H, W)."""
    return np.asarray(np.abs(gradient).max(axis=1))


def saliency(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    """The saliency map: the magnitude of the class score's gradient, maximal over channels."""
    gradient = score_gradient(network, request)
    return as_maps("saliency", saliency_map(gradient), request, gradient=gradient)


def integrated_gradients(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    """Integrated gradients from the baseline 0, by the midpoint rule with ``steps`` points on the straight line."""
    steps = int(request.settings["steps"])
    hot = network.one_hot(request.classes)
    total = np.zeros(request.images.shape, np.float64)
    weights = ((np.arange(steps) + 0.5) / steps).astype(request.images.dtype)
    for i, image in enumerate(request.images):
        points = weights[:, None, None, None] * image
        total[i] = network.gradient(points, {network.scores: np.repeat(hot[i : i + 1], steps, axis=0)}).sum(axis=0)
    attribution = request.images * total / steps
    here, there = (network.values(x, [network.scores])[network.scores] for x in (request.images, 0 * request.images))
    gap = np.abs(attribution.sum(axis=(1, 2, 3)) - ((here - there) * hot).sum(axis=1)).max()
    maps = np.abs(attribution).sum(axis=1)
    found = as_maps("integrated_gradients", maps, request, attribution=attribution)
    return ViewResult(found.arrays, ("attribution",), found.panels, {"completeness_gap": float(gap)})


def grad_cam(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    """Grad-CAM: the class activation map at a node, by default at the last feature map."""
    node = network.node(request.node, network.last_map)
    hot = network.one_hot(request.classes)
    features, gradient = network.inner_gradient(request.images, node.name, {network.scores: hot})
    weights = gradient.astype(np.float64).mean(axis=(2, 3))
    coarse = np.maximum(np.einsum("nk,nkhw->nhw", weights, features), 0)
    maps = np.stack([over_image(item, image) for item, image in zip(coarse, request.images, strict=True)])
    found = as_maps("grad_cam", maps, request, coarse=coarse)
    return ViewResult(found.arrays, ("coarse",), found.panels)


def as_maps(name: str, maps: Array, request: ViewRequest, **more: Array) -> ViewResult:
    """A result of maps (N, H, W), with a panel for each map beside its image.

    Args:
        name: Name of the array of maps.
        maps: One map for each image.
        request: The images and classes.
        more: Further arrays that are kept.
    """
    panels: list[Panel] = []
    for image, map_, kind in zip(request.images, maps, request.classes or (None,) * len(maps), strict=True):
        panels += [
            Panel("image", image, "image"),
            Panel(name if kind is None else f"{name} of class {kind}", map_, "heat"),
        ]
    return ViewResult({name: maps, **more}, (name,), tuple(panels))


SALIENCY = NetworkView(
    "saliency",
    "where a small change of the image changes the class's score most",
    "max over channels of |d score / d image|",
    'Simonyan, Vedaldi, Zisserman, "Deep inside convolutional networks" (2013), section 3.1',
    saliency,
    ("image", "class"),
)
INTEGRATED_GRADIENTS = NetworkView(
    "integrated_gradients",
    "what each pixel adds to the class's score on the way from a grey image",
    "x * mean over steps k of d score / d image at x (k + 1/2) / steps; shown: sum over channels of |.|",
    'Sundararajan, Taly, Yan, "Axiomatic attribution for deep networks" (2017), equation 3',
    integrated_gradients,
    ("image", "class"),
    {"steps": 32},
)
GRAD_CAM = NetworkView(
    "grad_cam",
    "which regions of the last feature maps speak for the class",
    "max(sum_k w_k A_k, 0), w_k = mean over places of d score / d A_k",
    'Selvaraju et al., "Grad-CAM" (2017), equations 1 and 2',
    grad_cam,
    ("image", "class"),
)
VIEWS = (SALIENCY, INTEGRATED_GRADIENTS, GRAD_CAM)
