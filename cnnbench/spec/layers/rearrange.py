"""Layers that exchange channels with channels or with positions: channel shuffle, space to depth, depth to space.

Each is a reshape, a transposition and a reshape, which are written once, for either layout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.base import Example, Layer, Shapes, require_int, require_one_of, require_rank
from cnnbench.spec.layers.windows import PerAxis, per_axis, require_axes

Order = Literal["DCR", "CRD"]


class Rearrangement(NamedTuple):
    """Split the axes into ``split``, put them in the order ``permutation``, join them into ``joined``."""

    split: Shape
    permutation: Shape
    joined: Shape


@dataclass(frozen=True, kw_only=True)
class Rearranging(Layer):
    """What these kinds have in common."""

    layout_rule = "spatial"
    moves = True

    def rearrangement(self, source: Shape, channels_last: bool = False) -> Rearrangement:
        """How an operand of this shape, in this layout, is rearranged."""
        raise NotImplementedError

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return (self.rearrangement(inputs[0]).joined,)


@dataclass(frozen=True, kw_only=True)
class ChannelShuffle(Rearranging, kind="channel_shuffle"):
    """Deals the channels of each group out to all groups: with g groups of k, output i g + j is input j k + i.

    Args:
        groups: g, a divisor of the channels.

    Shapes:
        (N, C, *spatial) -> the same. Source: ShuffleNet (arXiv:1707.01083, figure 1); PyTorch's ChannelShuffle.
    """

    groups: int

    example = Example((1, 4, 6, 6), groups=2)

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], "channel_shuffle", least=2)
        groups, channels = require_int(self.groups, "groups", least=1), inputs[0][1]
        if channels % groups:
            raise FieldError(
                "groups", "do not divide the channels", received=groups, expected=f"a divisor of {channels}"
            )
        return self

    def rearrangement(self, source: Shape, channels_last: bool = False) -> Rearrangement:
        at = len(source) - 1 if channels_last and len(source) > 2 else 1
        split = (*source[:at], self.groups, source[at] // self.groups, *source[at + 1 :])
        order = (*range(at), at + 1, at, *range(at + 2, len(split)))
        return Rearrangement(split, order, source)


@dataclass(frozen=True, kw_only=True)
class DepthToSpace(Rearranging, kind="depth_to_space"):
    """Channels become positions: each block of b_1 x b_2 outputs comes from the channels of one position.

    Args:
        block: b, for each spatial axis.
        order: How the block's place (r over the spatial axes, row-major, of R = b_1 b_2 ...) and the output channel c
            of C stand in the input's channel: ``DCR`` r C + c (TensorFlow, ONNX's default), ``CRD`` c R + r (PyTorch's
            PixelShuffle, the sub-pixel convolution of arXiv:1609.05158, equation 4).

    Shapes:
        (N, R C, H, W) -> (N, C, b_1 H, b_2 W).
    """

    block: PerAxis
    order: Order

    example = Example((1, 4, 6, 6), block=2, order="DCR")

    def resolve(self, inputs: Shapes) -> Self:
        block = _resolve_block(self.block, self.order, inputs[0])
        if inputs[0][1] % math.prod(block):
            raise SpecError(
                "the channels do not fill a block",
                received=f"{inputs[0][1]} channels, block {block}",
                expected=f"a multiple of {math.prod(block)}",
            )
        return replace(self, block=block)

    def rearrangement(self, source: Shape, channels_last: bool = False) -> Rearrangement:
        block = require_axes(self.block)
        num, batch = len(block), source[0]
        spatial, depth = (source[1:-1], source[-1]) if channels_last else (source[2:], source[1])
        channels = depth // math.prod(block)
        inner = (*block, channels) if self.order == "DCR" else (channels, *block)
        first = 1 + num if channels_last else 1  # of the channel's parts
        split = (batch, *spatial, *inner) if channels_last else (batch, *inner, *spatial)
        channel, places = (first + num, first) if self.order == "DCR" else (first, first + 1)
        positions = 1 if channels_last else 2 + num
        pairs = [axis for i in range(num) for axis in (positions + i, places + i)]
        grown = tuple(n * b for n, b in zip(spatial, block, strict=True))
        if channels_last:
            return Rearrangement(split, (0, *pairs, channel), (batch, *grown, channels))
        return Rearrangement(split, (0, channel, *pairs), (batch, channels, *grown))


@dataclass(frozen=True, kw_only=True)
class SpaceToDepth(Rearranging, kind="space_to_depth"):
    """Positions become channels: the inverse of ``DepthToSpace`` with the same ``block`` and ``order``.

    Args:
        block: b, for each spatial axis; divisors of its sizes.
        order: With r the place in the block and c of C the input channel, the output's channel is r C + c for ``DCR``
            (TensorFlow, ONNX), c R + r for ``CRD`` (PyTorch's PixelUnshuffle).

    Shapes:
        (N, C, b_1 H, b_2 W) -> (N, R C, H, W).
    """

    block: PerAxis
    order: Order

    example = Example((1, 4, 6, 6), block=2, order="DCR")

    def resolve(self, inputs: Shapes) -> Self:
        block = _resolve_block(self.block, self.order, inputs[0])
        if any(size % b for size, b in zip(inputs[0][2:], block, strict=True)):
            raise SpecError(
                "the image is not made of whole blocks", received=inputs[0][2:], expected=f"multiples of {block}"
            )
        return replace(self, block=block)

    def rearrangement(self, source: Shape, channels_last: bool = False) -> Rearrangement:
        block = require_axes(self.block)
        num, batch = len(block), source[0]
        spatial, channels = (source[1:-1], source[-1]) if channels_last else (source[2:], source[1])
        parts = [part for n, b in zip(spatial, block, strict=True) for part in (n // b, b)]
        small, depth = tuple(parts[::2]), channels * math.prod(block)
        first = 1 if channels_last else 2  # of the parts
        positions = tuple(first + 2 * i for i in range(num))
        places = tuple(first + 2 * i + 1 for i in range(num))
        channel = 1 + 2 * num if channels_last else 1
        inner = (*places, channel) if self.order == "DCR" else (channel, *places)
        if channels_last:
            return Rearrangement((batch, *parts, channels), (0, *positions, *inner), (batch, *small, depth))
        return Rearrangement((batch, channels, *parts), (0, *inner, *positions), (batch, depth, *small))


def _resolve_block(block: PerAxis, order: Order, source: Shape) -> Shape:
    require_rank(source, "a rearrangement of positions", least=3, most=5)
    require_one_of(order, "order", ("DCR", "CRD"))
    return per_axis(block, len(source) - 2, "block", least=1)
