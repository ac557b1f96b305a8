"""Resizing: copies for the nearest neighbour, else a product with each axis' matrix, as ``jax.image.resize`` does.

That function has one convention of coordinates only, and computes its matrices in the image's precision.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.interpolation import matrix, taps
from cnnbench.spec.layers.resize import Resize
from cnnbench_jax.ops.registry import OPERATIONS
from cnnbench_jax.ops.windows import spatial_axes

Arrays = tuple[Array, ...]


@OPERATIONS.register("resize")
def resize(layer: Resize, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Axis by axis; sums are held in float32 at least."""
    x = inputs[0]
    positions = spatial_axes(call, x.ndim)
    axes = layer.axes(tuple(x.shape[position] for position in positions))
    if layer.mode == "nearest":
        for position, axis in zip(positions, axes, strict=True):
            x = _copies(x, position, taps(axis).indices[:, 0])
        return OpResult((x,))
    y = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    for position, axis in zip(positions, axes, strict=True):
        rows = jnp.asarray(matrix(axis), y.dtype)
        product = jnp.tensordot(y, rows, ((position,), (1,)), precision=lax.Precision.HIGHEST)
        y = jnp.moveaxis(product, -1, position)
    return OpResult((y.astype(x.dtype),))


def _copies(x: Array, position: int, indices: np.ndarray) -> Array:
    """``x[indices]`` along an axis: repeated, or every n-th, where the indices are that."""
    size, out = x.shape[position], len(indices)
    if out % size == 0 and np.array_equal(indices, np.arange(out) // (out // size)):
        return jnp.repeat(x, out // size, position)
    step = int(indices[1] - indices[0]) if out > 1 else 0
    if step > 0 and np.array_equal(indices, indices[0] + step * np.arange(out)):
        return lax.slice_in_dim(x, int(indices[0]), int(indices[-1]) + 1, step, position)
    return jnp.take(x, indices, position, mode="clip")
