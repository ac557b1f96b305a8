"""Sampling images at positions that are an input: what spatial transformers do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from cnnbench.errors import SpecError
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.base import Example, Layer, Shapes, require_one_of, require_rank

CUBIC = -0.75  # Keys' a in PyTorch's and ONNX's cubic sampling


@dataclass(frozen=True, kw_only=True)
class GridSample(Layer, kind="grid_sample"):
    """The image at each point of a grid, by interpolation.

    A point's coordinates are those of the last axis first (x, y[, z]), from -1 to 1 over the image.

    Args:
        mode: ``nearest`` (halves go to the even neighbour), ``linear``, or ``cubic`` (a = -0.75; two axes only).
        padding: What lies outside the image: ``zeros``, the ``border``'s nearest value, or its ``reflection``. With
            ``cubic`` that is asked for each tap, else for the point.
        align_corners: Whether -1 and 1 are the centres of the outer pixels, (g + 1) (n - 1) / 2, or their outer edges,
            ((g + 1) n - 1) / 2. Reflection is about these same places.

    Shapes:
        image (N, C, *spatial), grid (N, *out, axes) -> (N, C, *out).

    Source: Jaderberg et al., "Spatial transformer networks" (2015), equations 3 to 5; PyTorch's and ONNX's conventions.
    """

    mode: Literal["nearest", "linear", "cubic"] = "linear"
    padding: Literal["zeros", "border", "reflection"] = "zeros"
    align_corners: bool = False

    example = Example((1, 3, 5, 7), (1, 4, 6, 2))
    num_inputs = (2, 2)
    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        image, grid = inputs
        require_rank(image, self.kind, least=4, most=5)
        require_one_of(self.mode, "mode", ("nearest", "linear", "cubic"))
        require_one_of(self.padding, "padding", ("zeros", "border", "reflection"))
        if len(grid) != len(image) or grid[0] != image[0] or grid[-1] != len(image) - 2:
            raise SpecError(
                "the grid does not fit the image",
                received=f"{grid} for {image}",
                expected=f"(N, *out, {len(image) - 2}) of rank {len(image)} with batch {image[0]}",
            )
        if self.mode == "cubic" and len(image) != 4:
            raise SpecError("cubic sampling is for two spatial axes", received=image, expected="rank 4")
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        image, grid = inputs
        out: Shape = grid[1:-1]
        return ((*image[:2], *out),)

    def reflected_about(self, size: int) -> tuple[float, float]:
        """The two places about which coordinates of an axis are reflected."""
        return (0.0, size - 1.0) if self.align_corners else (-0.5, size - 0.5)
