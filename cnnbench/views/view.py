"""The data types of a view (a visualisation of a network, such as Grad-CAM): its definition, request and result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import SuiteError, did_you_mean
from cnnbench.views.network import ViewedNetwork

Array = NDArray[Any]
Need = Literal["image", "class", "data", "style"]
PanelKind = Literal["image", "heat", "signed", "points"]


@dataclass(frozen=True)
class ViewRequest:
    """The images, classes and settings from which a view is computed.

    Args:
        images: (N, C, H, W), as the network takes them; N is 0 where no image was given.
        classes: One class for each image; () for none.
        nodes: The nodes that the user named, in their order.
        data: Images of a dataset, (M, C, H, W).
        labels: Labels of these images.
        style: The image (1, C, H, W) of the style, for style transfer.
        settings: The view's settings by name.
        seed: Seed of random draws.
        compared_only: Whether only the arrays that are compared between backends are wanted. Iterative views then stop
            after the first gradient.
    """

    images: Array
    classes: tuple[int, ...] = ()
    nodes: tuple[str, ...] = ()
    data: Array | None = None
    labels: Array | None = None
    style: Array | None = None
    settings: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    compared_only: bool = False

    @property
    def node(self) -> str | None:
        """The first of the named nodes."""
        return self.nodes[0] if self.nodes else None


@dataclass(frozen=True)
class Panel:
    """One picture.

    Args:
        title: The title above it.
        values: (H, W) or (C, H, W); for ``points`` rows of x, y and label.
        kind: ``image``; ``heat``, a map from 0; ``signed``, a map around 0; ``points``, a scatter plot.
        over: An image (C, H, W) over which a heat map is drawn.
    """

    title: str
    values: Array
    kind: PanelKind = "heat"
    over: Array | None = None


@dataclass(frozen=True)
class ViewResult:
    """The arrays, pictures and numbers that a view computed.

    Args:
        arrays: All arrays that are kept, by name.
        compared: Names of the arrays that are compared between backends.
        panels: The pictures, in the order in which they are drawn.
        figures: Single numbers by name, which are printed.
    """

    arrays: Mapping[str, Array]
    compared: tuple[str, ...] = ()
    panels: tuple[Panel, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkView:
    """The definition of a view, a visualisation of what a network computes, such as saliency or Grad-CAM.

    Args:
        name: Its name on the command line.
        about: One sentence.
        formula: What is computed.
        source: The paper.
        make: (network, request) -> result. It may use only the network's ``values`` and ``gradient``, so that it runs
            on every backend.
        needs: ``image``, ``class`` (of a classifier), ``data`` (a dataset), ``style`` (an image).
        settings: The numbers that a user may change, with their defaults.
    """

    name: str
    about: str
    formula: str
    source: str
    make: Callable[[ViewedNetwork, ViewRequest], ViewResult]
    needs: tuple[Need, ...] = ("image",)
    settings: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, network: ViewedNetwork, request: ViewRequest) -> ViewResult:
        """Computes the view. Settings that it does not have are ignored.

        Raises:
            SuiteError: An image, class, dataset or style that it needs was not given.
        """
        given = {
            "image": len(request.images) > 0,
            "class": len(request.classes) > 0,
            "data": request.data is not None,
            "style": request.style is not None,
        }
        remedies = {
            "image": "--image FILE, or --data DATASET",
            "class": "--class N",
            "data": "--data DATASET",
            "style": "--style FILE",
        }
        for need in self.needs:
            if not given[need]:
                raise SuiteError(f"the view {self.name!r} needs {_ARTICLE[need]}", remedy=remedies[need])
        own = {name: value for name, value in request.settings.items() if name in self.settings}
        return self.make(network, replace(request, settings={**self.settings, **own}))


_ARTICLE = {"image": "an image", "class": "a class", "data": "a dataset", "style": "an image whose style is taken"}


def views() -> dict[str, NetworkView]:
    """Every view by name, including those that plugins add by the hook ``cnnbench_views``."""
    from cnnbench.registry import offered

    return offered("cnnbench_views", NetworkView)


def find_view(name: str) -> NetworkView:
    """The view of that name. Raises SuiteError with the nearest one where there is none."""
    known = views()
    if name not in known:
        raise SuiteError(f"unknown view {name!r}", where="--what", remedy=did_you_mean(name, known))
    return known[name]


class ImageBox(NamedTuple):
    """A part of an image, in pixels: from ``top`` and ``left``, to ``bottom`` and ``right``, which lie outside."""

    top: int
    bottom: int
    left: int
    right: int

    def mass(self, map_: Array) -> float:
        """The share of a map's (..., H, W) magnitude that lies inside, all maps together; NaN where there is none."""
        size = np.abs(np.asarray(map_, np.float64))
        total = float(size.sum())
        return float(size[..., self.top : self.bottom, self.left : self.right].sum()) / total if total else math.nan

    def area(self, image: tuple[int, ...]) -> float:
        """The share of an image (..., H, W) that it covers."""
        return (self.bottom - self.top) * (self.right - self.left) / (image[-2] * image[-1])


def require_box(given: Sequence[int], image: tuple[int, ...]) -> ImageBox:
    """Four numbers as a box. Raises SuiteError where they are no part of an image (C, H, W)."""
    box = ImageBox(*given) if len(given) == 4 else None
    if box is None or not (0 <= box.top < box.bottom <= image[1] and 0 <= box.left < box.right <= image[2]):
        expected = f"TOP:BOTTOM,LEFT:RIGHT within {image[1]} x {image[2]} pixels"
        raise SuiteError("the box is no part of the image", where="--box", received=tuple(given), expected=expected)
    return box


def require_settings(given: Mapping[str, float], chosen: Sequence[NetworkView]) -> Mapping[str, float]:
    """Settings, each of which some view takes. Raises SuiteError with the nearest name for another one."""
    known = {name for view in chosen for name in view.settings}
    for name in given:
        if name not in known:
            remedy = did_you_mean(name, known) if known else "these views have none"
            raise SuiteError(f"no view that was asked for has a setting {name!r}", where="--set", remedy=remedy)
    return given


def over_image(map_: Array, image: Array) -> Array:
    """A coarse map (H', W') brought to an image's size by linear interpolation."""
    from cnnbench.training.datasets.pictures import resize

    return np.asarray(resize(map_[None, None], *image.shape[1:])[0, 0])
