"""Parts of an image: crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.base import Example, Shapes
from cnnbench.spec.layers.indexing import Slice
from cnnbench.spec.layers.padding import Pad


@dataclass(frozen=True, kw_only=True)
class Crop(Composite, kind="crop"):
    """A part of the image.

    Args:
        size: Of the part, for each spatial axis.
        offset: Where it begins, for each spatial axis; ``center`` leaves floor((input - size) / 2) before it, and an
            odd row after it (TensorFlow's and ONNX's centre; torchvision rounds that half to even).

    Shapes:
        (N, C, *spatial) -> (N, C, *size).
    """

    size: tuple[int, ...]
    offset: tuple[int, ...] | Literal["center"] = "center"

    example = Example((1, 4, 6, 6), size=(3, 4))
    moves = True

    def resolve(self, inputs: Shapes) -> Self:
        spatial = inputs[0][2:]
        _require_sizes(self.size, spatial)
        offset = self._offset(spatial)
        fits = len(offset) == len(spatial) and all(
            0 <= begin <= n - size for begin, size, n in zip(offset, self.size, spatial, strict=True)
        )
        if not fits:
            raise SpecError(
                "the part does not lie within the image",
                received=f"size {self.size} at {self.offset}",
                expected=f"within {spatial}",
            )
        return self

    def _offset(self, spatial: Shape) -> Shape:
        if self.offset != "center":
            return self.offset
        return tuple((n - size) // 2 for n, size in zip(spatial, self.size, strict=True))

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        offset = self._offset(inputs[0].shape[2:])
        ends = tuple(begin + size for begin, size in zip(offset, self.size, strict=True))
        axes = tuple(range(2, 2 + len(ends)))
        return builder.add("slice", Slice(starts=offset, ends=ends, axes=axes), inputs[0])


@dataclass(frozen=True, kw_only=True)
class CenterCropPad(Composite, kind="center_crop_pad"):
    """The image cut or surrounded by zeros to a size, its centre staying where it is.

    Args:
        size: For each spatial axis. Of an odd difference the larger half is cut or added at the end.

    Shapes:
        (N, C, *spatial) -> (N, C, *size). Source: ONNX's CenterCropPad.
    """

    size: tuple[int, ...]

    example = Example((1, 4, 6, 6), size=(3, 8))
    moves = True

    def resolve(self, inputs: Shapes) -> Self:
        _require_sizes(self.size, inputs[0][2:])
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        x = inputs[0]
        smaller = tuple(min(n, size) for n, size in zip(x.shape[2:], self.size, strict=True))
        x = builder.add("crop", Crop(size=smaller), x)
        missing = [size - n for size, n in zip(self.size, smaller, strict=True)]
        pairs = tuple((count // 2, count - count // 2) for count in missing)
        return builder.add("pad", Pad(padding=((0, 0), *pairs)), x)


def _require_sizes(size: tuple[int, ...], spatial: Shape) -> None:
    if len(size) != len(spatial) or any(n < 1 for n in size):
        raise FieldError(
            "size", "does not fit the image", received=size, expected=f"{len(spatial)} integers of at least 1"
        )
