"""Known faults of views, such as a gradient taken of the wrong value, which the comparison of views must find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cnnbench.errors import SuiteError, did_you_mean
from cnnbench.views.features import occlusion
from cnnbench.views.maximisation import reconstruction
from cnnbench.views.network import ViewedNetwork
from cnnbench.views.rectified import through_rectifiers
from cnnbench.views.saliency import as_maps, saliency_map
from cnnbench.views.view import NetworkView, ViewRequest, ViewResult, views


@dataclass(frozen=True)
class ViewFault:
    """A faulty implementation of a view.

    Args:
        view: Name of the view.
        defect: Name of the fault among the view's faults.
        description: What it does wrong.
        make: The faulty implementation, in place of the view's own.
    """

    view: str
    defect: str
    description: str
    make: Callable[[ViewedNetwork, ViewRequest], ViewResult]

    @property
    def name(self) -> str:
        """``<view>.<defect>``."""
        return f"{self.view}.{self.defect}"

    def injected(self, view: NetworkView) -> NetworkView:
        """The view with the faulty implementation; any other view is returned unchanged."""
        return replace(view, make=self.make) if view.name == self.view else view


def _softmax_gradient(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    scores = network.values(request.images, [network.scores])[network.scores].astype(np.float64)
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares = exponentials / exponentials.sum(axis=1, keepdims=True)
    hot = network.one_hot(request.classes)
    own = (shares * hot).sum(axis=1, keepdims=True)
    gradient = network.gradient(request.images, {network.scores: np.asarray(own * (hot - shares), np.float32)})
    return as_maps("saliency", saliency_map(gradient), request, gradient=gradient)


def _summed_channels(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    gradient = network.gradient(request.images, {network.scores: network.one_hot(request.classes)})
    return as_maps("saliency", np.abs(gradient.sum(axis=1)), request, gradient=gradient)


def _left_end(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    from cnnbench.views.saliency import INTEGRATED_GRADIENTS, integrated_gradients

    once = replace(request, settings={**INTEGRATED_GRADIENTS.settings, **request.settings, "steps": 1})
    return integrated_gradients(network, once)


def _cam(network: ViewedNetwork, request: ViewRequest, *, rectified: bool, axes: tuple[int, ...]) -> ViewResult:
    node = network.node(request.node, network.last_map)
    hot = network.one_hot(request.classes)
    features, gradient = network.inner_gradient(request.images, node.name, {network.scores: hot})
    coarse = (gradient.astype(np.float64).mean(axis=axes, keepdims=True) * features).sum(axis=1)
    return ViewResult({"coarse": np.maximum(coarse, 0) if rectified else coarse}, ("coarse",))


def _not_rectified(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    return _cam(network, request, rectified=False, axes=(2, 3))


def _averaged_over_channels(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    return _cam(network, request, rectified=True, axes=(1,))


def _rectified(network: ViewedNetwork, request: ViewRequest, name: str, *, positive: bool, guided: bool) -> ViewResult:
    gradient = through_rectifiers(network, request, guided=guided, positive=positive)
    return ViewResult({name: gradient}, (name,))


def _plain_gradient(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    return _rectified(network, request, "guided_backpropagation", positive=False, guided=True)


def _deconvnet_for_guided(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    return _rectified(network, request, "guided_backpropagation", positive=True, guided=False)


def _masked_deconvnet(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    return _rectified(network, request, "deconvnet", positive=True, guided=True)


def _gain(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    return ViewResult({"occlusion": -occlusion(network, request).arrays["occlusion"]}, ("occlusion",))


def _half_gradient(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    found = reconstruction(network, request)
    return replace(found, arrays={**found.arrays, "first_gradient": found.arrays["first_gradient"] / 2})


FAULTS = (
    ViewFault(
        "saliency", "of_softmax", "the gradient of the class's probability and not of its score", _softmax_gradient
    ),
    ViewFault("saliency", "summed_channels", "channels summed before the magnitude is taken", _summed_channels),
    ViewFault("integrated_gradients", "one_step", "the gradient at one point for the mean over the path", _left_end),
    ViewFault("grad_cam", "not_rectified", "regions that speak against the class kept", _not_rectified),
    ViewFault("grad_cam", "wrong_axis", "weights averaged over channels and not over places", _averaged_over_channels),
    ViewFault("guided_backpropagation", "plain", "negative gradients sent on at every ReLU", _plain_gradient),
    ViewFault(
        "guided_backpropagation", "deconvnet", "sent on where the ReLU's input was negative", _deconvnet_for_guided
    ),
    ViewFault("deconvnet", "masked", "held back where the ReLU's input was negative", _masked_deconvnet),
    ViewFault("occlusion", "sign", "the score without the square taken from the one with it", _gain),
    ViewFault("reconstruction", "half_gradient", "the factor 2 of the square's gradient left out", _half_gradient),
)


def view_faults() -> dict[str, ViewFault]:
    """Every fault by name."""
    return {item.name: item for item in FAULTS}


def view_rows() -> list[dict[str, Any]]:
    """What ``cnnbench list views`` shows of each."""
    return [
        {
            "name": item.name,
            "about": item.about,
            "needs": list(item.needs),
            "settings": dict(item.settings),
            "formula": item.formula,
            "source": item.source,
            "faults": {fault.name: fault.description for fault in FAULTS if fault.view == item.name},
        }
        for item in views().values()
    ]


def find_view_fault(name: str) -> ViewFault:
    """The fault of that name. Raises SuiteError with the nearest one where there is none."""
    known = view_faults()
    if name not in known:
        raise SuiteError(f"unknown fault of a view {name!r}", where="--fault", remedy=did_you_mean(name, known))
    return known[name]
