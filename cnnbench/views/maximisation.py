"""Images found by gradient ascent: class maximisation, reconstruction from a representation, and DeepDream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.views.descent import adam
from cnnbench.views.network import ViewedNetwork
from cnnbench.views.view import NetworkView, Panel, ViewRequest, ViewResult

Array = NDArray[Any]
Regulariser = Callable[[Array, ViewRequest], Array]


def class_score(network: ViewedNetwork, request: ViewRequest, x: Array) -> tuple[float, Array]:
    """The score of the first class and its gradient.

    Args:
        network: The network.
        request: The request, whose first class is used.
        x: The image, (1, C, H, W).
    """
    hot = network.one_hot(request.classes[:1])
    x = np.asarray(x, np.float32)
    score = float((network.values(x, [network.scores])[network.scores] * hot).sum())
    return score, network.gradient(x, {network.scores: hot})


def ascent(network: ViewedNetwork, request: ViewRequest, after_step: Regulariser | None, decay: float) -> ViewResult:
    """Gradient ascent on score - decay |x|^2, starting from small noise; the regulariser is applied after each step.

    The gradient is divided by its root mean square, so that a step moves the image by ``rate`` in root mean square.

    Args:
        network: The network.
        request: The class, and the settings ``steps`` and ``rate``.
        after_step: (image, request) -> image, or None.
        decay: Of the image's square.
    """
    steps = 0 if request.compared_only else int(request.settings["steps"])
    x = np.random.default_rng(request.seed).normal(scale=0.01, size=(1, *network.image))
    score, gradient = class_score(network, request, x)
    first, scores = gradient - 2 * decay * x, [score]
    for step in range(steps):
        total = np.asarray(gradient, np.float64) - 2 * decay * x
        x = x + request.settings["rate"] * total / (np.sqrt((total**2).mean()) + 1e-12)
        if after_step is not None:
            x = after_step(x, replace(request, settings={**request.settings, "step": step}))
        score, gradient = class_score(network, request, x)
        scores.append(score)
    figures = {"score_at_start": scores[0], "score_at_end": scores[-1]}
    panels = (Panel(f"class {request.classes[0]}, score {scores[-1]:.3g}", x[0], "image"),)
    arrays = {"image": x, "first_gradient": first, "scores": np.asarray(scores)}
    return ViewResult(arrays, ("first_gradient",), panels, figures)


def blurred(x: Array, request: ViewRequest) -> Array:
    """Regulariser: blurs the image by a Gaussian of ``width`` pixels after every ``every``-th step."""
    from scipy.ndimage import gaussian_filter

    if int(request.settings["step"]) % int(request.settings["every"]):
        return x
    width = request.settings["width"]
    return np.asarray(gaussian_filter(x, (0, 0, width, width)))


def clipped(x: Array, request: ViewRequest) -> Array:
    """Regulariser: sets pixels to 0 whose norm over channels is below a percentile."""
    norm = np.sqrt((x**2).sum(axis=1, keepdims=True))
    return np.asarray(np.where(norm < np.percentile(norm, request.settings["percentile"]), 0.0, x))


def class_l2(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    """Class maximisation with an L2 penalty on the image."""
    return ascent(network, request, None, request.settings["decay"])


def class_blur(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    """Class maximisation with Gaussian blur as the regulariser."""
    return ascent(network, request, blurred, 0.0)


def class_clip(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    """Class maximisation in which pixels of small norm are set to 0 after each step."""
    return ascent(network, request, clipped, 0.0)


def total_variation(x: Array) -> tuple[float, Array]:
    """Total variation, the sum of squared differences of neighbouring pixels, and its gradient."""
    down, right = np.diff(x, axis=2), np.diff(x, axis=3)
    gradient = np.zeros_like(x)
    gradient[:, :, 1:] += 2 * down
    gradient[:, :, :-1] -= 2 * down
    gradient[:, :, :, 1:] += 2 * right
    gradient[:, :, :, :-1] -= 2 * right
    return float((down**2).sum() + (right**2).sum()), gradient


def reconstruction(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    """Inverts a representation: finds an image whose values at a node are those of the given image."""
    middle = network.maps[len(network.maps) // 2] if network.maps else None
    node = network.node(request.node, middle)
    target = network.values(request.images[:1], [node.name])[node.name].astype(np.float64)
    size = float((target**2).sum()) or 1.0
    weight = request.settings["smoothness"] / request.images[:1].size

    def objective(x: Array) -> tuple[float, Array]:
        image = np.asarray(x, np.float32)
        gap = network.values(image, [node.name])[node.name] - target
        gradient = network.gradient(image, {node.name: np.asarray(2 * gap / size, np.float32)})
        rough, of_rough = total_variation(x)
        return float((gap**2).sum()) / size + weight * rough, gradient + weight * of_rough

    start = np.random.default_rng(request.seed).normal(scale=0.1, size=(1, *network.image))
    steps = 0 if request.compared_only else int(request.settings["steps"])
    found = adam(objective, start, steps, request.settings["rate"])
    arrays = {"image": found.image, "first_gradient": found.first_gradient, "values": np.asarray(found.values)}
    panels = (Panel("image", request.images[0], "image"), Panel(f"from {node.name}", found.image[0], "image"))
    figures = {"loss_at_start": found.values[0], "loss_at_end": found.values[-1]}
    return ViewResult(arrays, ("first_gradient",), panels, figures)


def deep_dream(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    """DeepDream: gradient ascent on the mean square of a node's values, from the given image, with jitter."""
    node = network.node(request.node, network.maps[2 * len(network.maps) // 3] if network.maps else None)
    steps = 0 if request.compared_only else int(request.settings["steps"])
    generator = np.random.default_rng(request.seed)
    x = np.array(request.images[:1], np.float64)

    def gradient(image: Array) -> tuple[float, Array]:
        image = np.asarray(image, np.float32)
        values = network.values(image, [node.name])[node.name]
        return float((values**2).mean()), network.gradient(image, {node.name: 2 * values / values.size})

    value, first = gradient(x)
    seen = [value]
    jitter = int(request.settings["jitter"])
    for _ in range(steps):
        shift = tuple(int(n) for n in generator.integers(-jitter, jitter + 1, 2))
        moved = np.roll(x, shift, (2, 3))
        value, ahead = gradient(moved)
        moved = moved + request.settings["rate"] * ahead / (np.abs(ahead).mean() + 1e-12)
        x = np.roll(moved, (-shift[0], -shift[1]), (2, 3))
        seen.append(value)
    panels = (Panel("image", request.images[0], "image"), Panel(f"dream of {node.name}", x[0], "image"))
    arrays = {"image": x, "first_gradient": first, "values": np.asarray(seen)}
    return ViewResult(arrays, ("first_gradient",), panels, {"value_at_start": seen[0], "value_at_end": seen[-1]})


SIMONYAN = 'Simonyan, Vedaldi, Zisserman, "Deep inside convolutional networks" (2013), section 2'
YOSINSKI = 'Yosinski et al., "Understanding neural networks through deep visualization" (2015), section 3'
VIEWS = (
    NetworkView(
        "class_l2",
        "an image of which the class's score is large, kept small",
        "ascent on score(x) - decay |x|^2",
        SIMONYAN,
        class_l2,
        ("class",),
        {"steps": 100, "rate": 0.1, "decay": 0.01},
    ),
    NetworkView(
        "class_blur",
        "an image of which the class's score is large, kept smooth",
        "ascent on score(x), blurred by a Gaussian of width pixels after every every-th step",
        YOSINSKI,
        class_blur,
        ("class",),
        {"steps": 100, "rate": 0.1, "width": 0.5, "every": 4},
    ),
    NetworkView(
        "class_clip",
        "an image of which the class's score is large, with nothing that does not matter",
        "ascent on score(x), pixels whose norm lies below a percentile set to 0 after each step",
        YOSINSKI,
        class_clip,
        ("class",),
        {"steps": 100, "rate": 0.1, "percentile": 30},
    ),
    NetworkView(
        "reconstruction",
        "an image with the same values at a node: what the node keeps of the image",
        "min |f(x) - f(x0)|^2 / |f(x0)|^2 + smoothness TV(x) / size, by Adam from noise",
        'Mahendran, Vedaldi, "Understanding deep image representations by inverting them" (2014), equation 1',
        reconstruction,
        ("image",),
        {"steps": 200, "rate": 0.05, "smoothness": 0.1},
    ),
    NetworkView(
        "deep_dream",
        "the image with more of what a node sees in it",
        "ascent on the mean of f(x)^2, the image shifted by up to jitter pixels before each step",
        'Mordvintsev, Olah, Tyka, "Inceptionism" (2015)',
        deep_dream,
        ("image",),
        {"steps": 20, "rate": 0.05, "jitter": 4},
    ),
)
