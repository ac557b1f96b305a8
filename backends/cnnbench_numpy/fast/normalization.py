"""Batch normalisation of channels-last training batches, in blocks of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.spec.layers import BatchNorm
from cnnbench_numpy.fast.team import Team

Array = NDArray[Any]
BLOCK_ELEMENTS = 1 << 15


def _blocks(positions: int, channels: int) -> list[slice]:
    step = max(1, BLOCK_ELEMENTS // channels)
    return [slice(i, min(i + step, positions)) for i in range(0, positions, step)]


def column_sums(rows: Array, team: Team) -> Array:
    """Sums of (M, C) over rows, first within blocks and then over them, which keeps rounding errors small."""
    blocks = _blocks(*rows.shape)
    partial = np.empty((len(blocks), rows.shape[1]), rows.dtype)

    def add_up(worker: int, i: int) -> None:
        rows[blocks[i]].sum(axis=0, out=partial[i])

    team.run(add_up, len(blocks))
    total: Array = partial.sum(axis=0)
    return total


def normalize_batch(
    layer: BatchNorm, x: Array, weights: tuple[Array, ...], team: Team
) -> tuple[Array, Array, Array, Array]:
    """(y, batch mean, biased batch variance, 1 / std) of x (N, *spatial, C).

    The variance is that of the differences from the mean, not of squares.

    Args:
        layer: Its epsilon.
        x: (N, *spatial, C).
        weights: (weight, bias), each (C,); () for neither.
        team: The threads.
    """
    rows = x.reshape(-1, x.shape[-1])
    y = np.empty(x.shape, x.dtype)
    flat = y.reshape(rows.shape)
    blocks = _blocks(*rows.shape)
    partial = np.empty((len(blocks), rows.shape[1]), x.dtype)
    mean = column_sums(rows, team) / rows.shape[0]

    def centre(worker: int, i: int) -> None:
        block = np.subtract(rows[blocks[i]], mean, out=flat[blocks[i]])
        np.einsum("ij,ij->j", block, block, out=partial[i])

    team.run(centre, len(blocks))
    variance = partial.sum(axis=0) / rows.shape[0]
    inverse_std = 1 / np.sqrt(variance + layer.eps)
    scale = inverse_std * weights[0] if layer.affine else inverse_std

    def finish(worker: int, i: int) -> None:
        block = flat[blocks[i]]
        block *= scale
        if layer.affine:
            block += weights[1]

    team.run(finish, len(blocks))
    return y, mean, variance, inverse_std


def batch_norm_gradients(
    layer: BatchNorm, saved: tuple[Array, Array, Array], dy: Array, weights: tuple[Array, ...], team: Team
) -> tuple[Array, tuple[Array, Array]]:
    """(dx, (d weight, d bias)) in training: (w / std) (dy - mean(dy) - x' mean(dy x')) with x' the normalised x.

    Args:
        layer: Its fields.
        saved: (x, mean, 1 / std) of the forward pass.
        dy: The cotangent, of the shape of x (N, *spatial, C).
        weights: (weight, bias), each (C,); () for neither.
        team: The threads.
    """
    x, mean, inverse_std = saved
    rows, slopes = x.reshape(-1, x.shape[-1]), dy.reshape(-1, x.shape[-1])
    dx = np.empty(x.shape, x.dtype)
    flat = dx.reshape(rows.shape)
    blocks = _blocks(*rows.shape)
    partial = np.empty((2, len(blocks), rows.shape[1]), x.dtype)

    def add_up(worker: int, i: int) -> None:
        slope = slopes[blocks[i]]
        slope.sum(axis=0, out=partial[0, i])
        centred = np.subtract(rows[blocks[i]], mean, out=flat[blocks[i]])
        np.einsum("ij,ij->j", slope, centred, out=partial[1, i])

    team.run(add_up, len(blocks))
    d_bias, d_weight = partial[0].sum(axis=0), partial[1].sum(axis=0) * inverse_std
    share, tilt = d_bias / rows.shape[0], inverse_std * d_weight / rows.shape[0]
    scale = inverse_std * weights[0] if layer.affine else inverse_std

    def finish(worker: int, i: int) -> None:
        block = flat[blocks[i]]
        block *= tilt
        np.subtract(slopes[blocks[i]], block, out=block)
        block -= share
        block *= scale

    team.run(finish, len(blocks))
    return dx, (d_weight, d_bias)
