"""Resizing images: nearest, linear and cubic interpolation under every convention of coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.base import Example, Layer, Shapes, require_one_of, require_rank
from cnnbench.spec.layers.interpolation import Axis, Coordinates, Mode, Rounding
from cnnbench.spec.layers.windows import per_axis

COORDINATES: tuple[Coordinates, ...] = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
)
ROUNDINGS: tuple[Rounding, ...] = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
Scale = float | tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Resize(Layer, kind="resize"):
    """The image at another size: y = W x along each spatial axis, W by interpolation at the coordinates t(i).

    Args:
        size: Of the output, an integer or one for each spatial axis. Or
        scale: its factor; the output is then floor(size * scale). Where both are given, ``size`` is the output's and
            ``scale`` is s (one factor for axes whose sizes are rounded: ONNX's keep_aspect_ratio_policy).
        mode: ``nearest``, ``linear`` (bilinear, trilinear), or ``cubic`` (bicubic).
        coordinates: t(i) of output i, s being the factor, n and m the sizes of input and output:
            ``half_pixel`` (i + 1/2) / s - 1/2 (PyTorch, tf.image, JAX, Keras, Pillow);
            ``pytorch_half_pixel`` the same, but 0 where m is 1 (early PyTorch);
            ``half_pixel_symmetric`` the same, moved so that the image's centre stays where m is not n s;
            ``align_corners`` i (n - 1) / (m - 1), 0 where m is 1 (PyTorch with align_corners, Caffe);
            ``asymmetric`` i / s (TensorFlow 1, and PyTorch's and Caffe2's nearest).
        nearest_rounding: ``round_prefer_floor`` (a half goes down: ONNX), ``round_prefer_ceil`` (a half goes up: with
            half_pixel that is PyTorch's "nearest-exact", tf.image and JAX), ``floor`` (with asymmetric PyTorch's
            "nearest"), ``ceil``.
        cubic_coefficient: Keys' a: -0.75 in PyTorch and OpenCV, -0.5 in TensorFlow, JAX, Pillow, and in PyTorch with
            antialias.
        exclude_outside: Whether what lies outside the image has no weight, the others being scaled to sum to one
            (TensorFlow, JAX; PyTorch with antialias). Else the edge is repeated (PyTorch, OpenCV).
        antialias: Whether the kernel of ``linear`` and ``cubic`` is widened by 1/s where the image shrinks (Pillow;
            JAX's default).
        recompute_scale: Whether s is m / n, where ``scale`` is given (PyTorch's recompute_scale_factor). With ``size``
            alone it always is.

    Shapes:
        (N, C, *spatial) -> (N, C, *size).

    Source: ONNX's operator Resize, whose attributes these are.
    """

    size: int | tuple[int, ...] | None = None
    scale: Scale | None = None
    mode: Mode = "nearest"
    coordinates: Coordinates = "half_pixel"
    nearest_rounding: Rounding = "round_prefer_floor"
    cubic_coefficient: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    recompute_scale: bool = False

    example = Example((1, 4, 6, 6), size=(9, 8))
    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], "resize", least=3, most=5)
        require_one_of(self.mode, "mode", ("nearest", "linear", "cubic"))
        require_one_of(self.coordinates, "coordinates", COORDINATES)
        require_one_of(self.nearest_rounding, "nearest_rounding", ROUNDINGS)
        if self.antialias and self.mode == "nearest":
            raise SpecError("nearest has no antialias", received=self.antialias, expected="mode linear or cubic")
        num = len(inputs[0]) - 2
        if self.size is None and self.scale is None:
            raise SpecError("the output's size is not clear", received=self._asked(), expected="size or scale, or both")
        size = None if self.size is None else per_axis(self.size, num, "size", least=1)
        if self.scale is None:
            return replace(self, size=size)
        scale = self.scale if isinstance(self.scale, tuple) else (self.scale or 0.0,) * num
        if len(scale) != num or any(s <= 0 for s in scale):
            raise FieldError("scale", received=self.scale, expected=f"{num} positive numbers")
        layer = replace(self, size=size, scale=scale)
        if any(out < 1 for out in layer.sizes(inputs[0][2:])):
            raise FieldError("scale", "leaves nothing", received=f"{scale} of {inputs[0][2:]}", expected="an output")
        return layer

    def _asked(self) -> str:
        return f"size {self.size}, scale {self.scale}"

    def sizes(self, spatial: Shape) -> Shape:
        """The output's size for each spatial axis. The layer is resolved."""
        if isinstance(self.size, tuple):
            return self.size
        if not isinstance(self.scale, tuple):
            raise SpecError("the layer is not resolved", received=self._asked(), expected="a number for each axis")
        return tuple(math.floor(n * s) for n, s in zip(spatial, self.scale, strict=True))

    def axes(self, spatial: Shape) -> tuple[Axis, ...]:
        """How each spatial axis is resized. The layer is resolved."""
        given = self.scale if isinstance(self.scale, tuple) and not self.recompute_scale else (None,) * len(spatial)
        return tuple(
            Axis(
                size=n,
                out=out,
                scale=scale,
                mode=self.mode,
                coordinates=self.coordinates,
                nearest_rounding=self.nearest_rounding,
                cubic_coefficient=self.cubic_coefficient,
                exclude_outside=self.exclude_outside,
                antialias=self.antialias,
            )
            for n, out, scale in zip(spatial, self.sizes(spatial), given, strict=True)
        )

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return ((*inputs[0][:2], *self.sizes(inputs[0][2:])),)
