"""The budget of Winograd's convolutions, from the magnitudes that their transforms pass through."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.winograd import KERNEL, Winograd, winograd_of
from cnnbench.numerics.budgets.base import Budget, Setting
from cnnbench.numerics.rounding import gamma, sharp_factor
from cnnbench.spec.layers.windows import require_pairs

Array = NDArray[Any]
LIKELY = 6  # standard errors, as for rounded operands: exceeded once in 3e7 (Hoeffding)


def form_of(setting: Setting) -> Winograd | None:
    """The form by which the call may run: by the policy, and the declared rule."""
    if not setting.policy.winograd:
        return None
    return winograd_of(setting.layer, tuple(setting.call.inputs[0].shape))


@dataclass(frozen=True)
class Tiles:
    """The values of one convolution between its transforms: U = G w G^T and V = B^T x B of each tile.

    Args:
        form: The transforms.
        x: (N, C, H, W), padded by the layer.
        weight: (O, C, 3, 3), as a correlation reads it.
    """

    form: Winograd
    x: Array
    weight: Array

    @cached_property
    def out(self) -> tuple[int, int]:
        """Rows and columns of the output."""
        return self.x.shape[2] - KERNEL + 1, self.x.shape[3] - KERNEL + 1

    @cached_property
    def counts(self) -> tuple[int, int]:
        """Tiles along both axes."""
        return -(-self.out[0] // self.form.tile), -(-self.out[1] // self.form.tile)

    def inputs(self, *, absolute: bool) -> Array:
        """V (reach^2, N * tiles, C), or |B^T| |x| |B|."""
        form, matrix, x = self.form, np.asarray(self.form.of_input), self.x
        if absolute:
            matrix, x = np.abs(matrix), np.abs(x)
        missing = [count * form.tile + KERNEL - 1 - n for count, n in zip(self.counts, x.shape[2:], strict=True)]
        x = np.pad(x, ((0, 0), (0, 0), *((0, n) for n in missing)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (form.reach, form.reach), (2, 3))
        found = matrix @ windows[:, :, :: form.tile, :: form.tile] @ matrix.T
        return np.asarray(found.transpose(4, 5, 0, 2, 3, 1).reshape(form.reach**2, -1, x.shape[1]))

    def weights(self, *, absolute: bool) -> Array:
        """U (reach^2, C, O), or |G| |w| |G^T|."""
        matrix, weight = np.asarray(self.form.of_weight), self.weight
        if absolute:
            matrix, weight = np.abs(matrix), np.abs(weight)
        found = (matrix @ weight @ matrix.T).transpose(2, 3, 1, 0)
        return np.asarray(found.reshape(self.form.reach**2, weight.shape[1], -1))

    def outputs(self, values: Array, back: Array) -> Array:
        """``back`` M ``back^T`` of values M (reach^2, N * tiles, O), as (N, O, H', W')."""
        rows, columns = self.counts
        reach, tile = self.form.reach, self.form.tile
        found = values.reshape(reach, reach, len(self.x), rows, columns, -1)
        found = np.einsum("ia,jb,abnrco->noricj", back, back, found, optimize=True)
        whole = found.reshape(len(self.x), -1, rows * tile, columns * tile)
        return np.asarray(whole[:, :, : self.out[0], : self.out[1]])


def convolution(setting: Setting, form: Winograd, rounded: Array) -> Budget:
    """Every rounding's size, passed on by the transforms after it.

    With |V| and |U| for |B^T| |x| |B| and |G| |w| |G^T|, r the reach and M = sum_c U V:

    Worst: gamma(C + 2 r^2 + 10, u) (|A^T| (sum_c |U| |V|) |A| + |b|) + u |y|.
    Sharp: 6 u sqrt(A^2 s A^2) + c(r^2 + 1, u) (|A^T| |M| |A| + |b|) + u |y|, with c the sharp factor, A^2 of squared
    elements, and s = sum_c (2 r U^2 |V|^2 + 6 |U|^2 V^2) + C (M^2 + sum_c U^2 V^2): 2 r roundings of each input and 6
    of each weight, and C of partial sums, which are as large as the whole sum or as a random walk.

    Args:
        setting: The call.
        form: Its form.
        rounded: Sum of the magnitudes that are rounded to storage.
    """
    x, (weight, *bias) = np.asarray(setting.call.inputs[0], np.float64), setting.call.weights
    padded = np.pad(x, ((0, 0), (0, 0), *require_pairs(setting.layer.padding)))
    tiles = Tiles(form, padded, np.asarray(setting.layer.correlated(weight), np.float64))
    channels, reach, u = x.shape[1], form.reach, setting.u
    back = np.asarray(form.of_output)
    shift = sum((np.abs(b).reshape(1, -1, 1, 1) for b in bias), np.zeros(()))
    v, u_of_weight = tiles.inputs(absolute=False), tiles.weights(absolute=False)
    products = np.abs(v @ u_of_weight)
    large_v, large_u = tiles.inputs(absolute=True), tiles.weights(absolute=True)
    worst = tiles.outputs(large_v @ large_u, np.abs(back)) + shift
    for array in (v, u_of_weight, large_v, large_u):
        np.square(array, out=array)
    spread = channels * np.square(products) + (2 * reach * large_v + channels * v) @ u_of_weight + 6 * v @ large_u
    deviation = np.sqrt(tiles.outputs(spread, np.square(back)))
    last = tiles.outputs(products, np.abs(back)) + shift
    count = channels + 2 * reach**2 + KERNEL**2 + 1
    ends = u.stored * rounded + (count + 1) * u.smallest
    most = gamma(count, u.accumulated) * worst + ends
    sharp = LIKELY * u.accumulated * deviation + sharp_factor(reach**2 + 1, u.accumulated) * last + ends
    return Budget(np.minimum(sharp, most), most)
