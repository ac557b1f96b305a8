"""The result of a view on one backend, and its comparison with the reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cnnbench.views.agreement import ViewTruth
from cnnbench.views.view import ImageBox, NetworkView, ViewResult

ViewStatus = Literal["agrees", "differs", "not compared"]


@dataclass(frozen=True)
class ViewFinding:
    """A view on one backend, compared with the reference.

    Args:
        view: The view.
        backend: Name of the backend in tables.
        result: The backend's arrays and pictures.
        truth: The reference's arrays with their envelope; None where no comparison was asked for, or the view has no
            compared arrays.
        box: A part of the image, for the share of each map that lies in it.
    """

    view: NetworkView
    backend: str
    result: ViewResult
    truth: ViewTruth | None = None
    box: ImageBox | None = None

    @property
    def in_box(self) -> Mapping[str, float]:
        """The share of magnitude inside the box, for each array with the image's height and width."""
        if self.box is None:
            return {}
        size = next((p.values.shape[-2:] for p in self.result.panels if p.title == "image"), None)
        return {n: self.box.mass(x) for n, x in self.result.arrays.items() if x.ndim > 2 and x.shape[-2:] == size}

    @property
    def used(self) -> Mapping[str, float]:
        """Largest |error| / budget of each compared array; empty where nothing was compared."""
        return {} if self.truth is None else self.truth.used(self.result)

    @property
    def status(self) -> ViewStatus:
        """``agrees`` where every compared array lies within its budget."""
        used = self.used
        if not used:
            return "not compared"
        return "agrees" if all(share <= 1 for share in used.values()) else "differs"

    @property
    def widths(self) -> Mapping[str, float]:
        """The budget of each compared array, relative to the largest value of the reference's array."""
        if self.truth is None:
            return {}
        envelope = self.truth.envelope
        largest = {name: float(np.abs(array).max(initial=0.0)) for name, array in self.truth.exact.items()}
        return {
            name: envelope.factor * size / largest[name] if largest[name] else math.inf
            for name, size in envelope.size.items()
        }

    @property
    def said(self) -> list[str]:
        """The findings as sentences without full stops, for the terminal and the report."""
        lines = [f"{name} {value:.3g}" for name, value in self.result.figures.items()]
        for name, mass in self.in_box.items():
            lines.append(f"{100 * mass:.1f} % of {name} lies in the box")
        for name, share in self.used.items():
            relation = "agrees" if share <= 1 else "DIFFERS"
            width = self.widths[name]
            size = f", which is {width:.1e} of its largest value" if math.isfinite(width) else ""
            lines.append(f"{name} {relation} with the reference: {share:.3g} of the budget{size}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """The finding as plain data, as ``cnnbench view --json`` prints it."""
        return {
            "view": self.view.name,
            "backend": self.backend,
            "status": self.status,
            "used": {name: share if math.isfinite(share) else None for name, share in self.used.items()},
            "budget": {name: width if math.isfinite(width) else None for name, width in self.widths.items()},
            "figures": dict(self.result.figures),
            "in_box": {name: mass if math.isfinite(mass) else None for name, mass in self.in_box.items()},
            "arrays": {name: list(np.shape(array)) for name, array in self.result.arrays.items()},
        }
