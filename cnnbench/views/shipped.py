"""The views that ship, in the order in which they are listed."""

from __future__ import annotations

from cnnbench.views import saliency
from cnnbench.views.view import NetworkView

SHIPPED: tuple[NetworkView, ...] = (*saliency.VIEWS,)
