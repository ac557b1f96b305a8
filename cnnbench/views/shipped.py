"""The views that ship, in the order in which they are listed."""

from __future__ import annotations

from cnnbench.views import features, maximisation, rectified, saliency, style
from cnnbench.views.view import NetworkView

SHIPPED: tuple[NetworkView, ...] = (
    *features.VIEWS,
    *saliency.VIEWS,
    *rectified.VIEWS,
    *maximisation.VIEWS,
    *style.VIEWS,
)
