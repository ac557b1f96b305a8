"""PyTorch's ``interpolate`` by its own names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from cnnbench.errors import SpecError
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.base import Example, Shapes
from cnnbench.spec.layers.interpolation import Coordinates
from cnnbench.spec.layers.resize import Resize, Scale


@dataclass(frozen=True, kw_only=True)
class Upsample(Composite, kind="upsample"):
    """PyTorch's ``interpolate`` by its own names, as a ``Resize``.

    Args:
        size, scale: As in ``Resize``; a factor is used as given.
        mode: ``nearest`` (asymmetric, rounded down), ``nearest-exact`` (half-pixel), ``linear`` for any number of axes
            (also by the names ``bilinear``, ``trilinear``), ``bicubic`` (a = -0.75, edges repeated).
        align_corners: Whether the corners' centres meet (``align_corners``) or the corners (``half_pixel``).

    Shapes:
        (N, C, *spatial) -> (N, C, *size).
    """

    size: int | tuple[int, ...] | None = None
    scale: Scale | None = None
    mode: Literal["nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic"] = "nearest"
    align_corners: bool = False

    example = Example((1, 4, 6, 6), scale=2.0)

    def resolve(self, inputs: Shapes) -> Self:
        if self.align_corners and self.mode in ("nearest", "nearest-exact"):
            raise SpecError("nearest aligns no corners", received=self.align_corners, expected="an interpolating mode")
        least = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}.get(self.mode)
        if least is not None and self.mode != "linear" and len(inputs[0]) != least + 2:
            raise SpecError(f"{self.mode} does not fit the input", received=inputs[0], expected=f"{least} spatial axes")
        self._resize().resolve(inputs)
        return self

    def _resize(self) -> Resize:
        plain = Resize(size=self.size, scale=self.scale)
        if self.mode == "nearest":
            return replace(plain, coordinates="asymmetric", nearest_rounding="floor")
        if self.mode == "nearest-exact":
            return replace(plain, nearest_rounding="round_prefer_ceil")
        coordinates: Coordinates = "align_corners" if self.align_corners else "half_pixel"
        return replace(plain, mode="cubic" if self.mode == "bicubic" else "linear", coordinates=coordinates)

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        return builder.add("resize", self._resize(), inputs[0])
