"""Winograd's minimal filtering as data: its transforms, and which convolutions run by it where a policy admits it.

A backend that computes by it and the budgets that judge it read the same declaration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

from cnnbench.spec.layers import Conv, Layer, Shape

KERNEL = 3
LEAST_CHANNELS = 32  # fewer do not pay for the transforms
# The tile by the smaller side of the output: its transforms and weights cost more than they save below.
TILES = ((20, 4), (8, 2))


@dataclass(frozen=True)
class Winograd:
    """F(m x m, 3 x 3): y = A^T ((G w G^T) * (B^T x B)) A for each tile of m x m outputs, * element by element.

    The first tile begins at the first output, and the last ones reach beyond the last output where m does not divide.

    Args:
        tile: m.
        of_output: A^T (m, m + 2). of_weight: G (m + 2, 3). of_input: B^T (m + 2, m + 2).

    Source: Lavin and Gray, "Fast algorithms for convolutional neural networks" (2015), sections 4.1 and 4.2; the
    points are 0, 1, -1 (and 2, -2).
    """

    tile: int
    of_output: tuple[tuple[float, ...], ...]
    of_weight: tuple[tuple[float, ...], ...]
    of_input: tuple[tuple[float, ...], ...]

    @property
    def reach(self) -> int:
        """Number of inputs along one axis that a tile reads: m + 2."""
        return self.tile + KERNEL - 1

    @property
    def name(self) -> str:
        """As papers write it."""
        return f"F({self.tile}x{self.tile}, {KERNEL}x{KERNEL})"


F2 = Winograd(
    2,
    ((1, 1, 1, 0), (0, 1, -1, -1)),
    ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)),
    ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
)
F4 = Winograd(
    4,
    ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
    (
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ),
    (
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
)
_BY_TILE = {form.tile: form for form in (F2, F4)}


def may_run(layer: Layer) -> TypeGuard[Conv]:
    """Whether Winograd applies to a layer, given enough input channels and large enough images."""
    if not isinstance(layer, Conv) or layer.groups != 1:
        return False
    window = layer.window()
    plain = tuple(window.kernel_size) == (KERNEL, KERNEL) and {*window.stride, *window.dilation} == {1}
    return plain and layer.out_channels >= LEAST_CHANNELS


def winograd_of(layer: Layer, x: Shape) -> Winograd | None:
    """The Winograd form of a layer at inference, where the policy admits Winograd; None for direct convolution.

    It applies to 3x3 kernels of stride 1 and dilation 1 in one group, with at least 32 input and 32 output channels and
    outputs of at least 8x8. The rule does not depend on the batch size, so that every batch is computed alike.

    Args:
        layer: With its fields resolved.
        x: The shape of its input, (N, C, H, W).
    """
    if not may_run(layer) or min(x[1], layer.out_channels) < LEAST_CHANNELS:
        return None
    side = min(layer.output_shapes((x,))[0][2:])
    return next((_BY_TILE[tile] for least, tile in TILES if side >= least), None)
