"""What became of a view on one backend: the view itself, and how much of its budget it uses."""

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
    """A view on one backend.

    Args:
        view: Which. backend: as tables name it. box: a part of the image of which is asked how much lies in it.
        result: What it gave.
        truth: What the reference gives, with its envelope; None where that was not asked for, or nothing is computed.
    """

    view: NetworkView
    backend: str
    result: ViewResult
    truth: ViewTruth | None = None
    box: ImageBox | None = None

    @property
    def in_box(self) -> Mapping[str, float]:
        """The share of each array's magnitude inside the box, of those that have the image's height and width."""
        if self.box is None:
            return {}
        size = next((p.values.shape[-2:] for p in self.result.panels if p.title == "image"), None)
        return {n: self.box.mass(x) for n, x in self.result.arrays.items() if x.ndim > 2 and x.shape[-2:] == size}

    @property
    def used(self) -> Mapping[str, float]:
        """The share of the budget that each compared array uses; empty where nothing was compared."""
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
        """The budget of each compared array as a share of the largest value of the reference's."""
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
        """Sentences, without their full stops, for a terminal and a page."""
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
        """What ``cnnbench view --json`` prints of it."""
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
