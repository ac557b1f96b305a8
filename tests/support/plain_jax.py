"""JAX's own calls, used plainly: what a user would write who has not heard of the defects in them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from cnnbench.execution.operations import OpResult


def reduce_window_mean(layer, inputs, weights, state, call):
    """``lax.reduce_window`` with ``lax.add`` in the operand's own type, over the window's size."""
    x = inputs[0]
    window, stride = call.per_axis((1, 1, *layer.kernel_size)), call.per_axis((1, 1, *layer.stride))
    total = lax.reduce_window(x, jnp.zeros((), x.dtype), lax.add, window, stride, "VALID")
    return OpResult((total / (layer.kernel_size[0] * layer.kernel_size[1]),))


def fast_variance_batch_norm(layer, inputs, weights, state, call):
    """The variance as E[x^2] - E[x]^2: flax's default (``use_fast_variance=True``)."""
    x = inputs[0]
    axis = call.channel_axis(x.ndim)
    others = tuple(i for i in range(x.ndim) if i != axis)
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    mean, variance = state
    after = state
    if call.training:
        mean = jnp.mean(x, others)
        variance = jnp.maximum(0.0, jnp.mean(jnp.square(x), others) - jnp.square(mean))
        count = x.size // x.shape[axis]
        m = layer.momentum
        after = ((1 - m) * state[0] + m * mean, (1 - m) * state[1] + m * variance * count / (count - 1))
    scale = weights[0] * lax.rsqrt(variance + layer.eps)
    y = (x - mean.reshape(shape)) * scale.reshape(shape) + weights[1].reshape(shape)
    return OpResult((y,), after)


@jax.custom_vjp
def _rows(table, indices):
    return table[indices]


def _rows_forward(table, indices):
    return table[indices], (indices, table.shape[0])


def _rows_backward(saved, gradient):
    indices, rows = saved
    flat = gradient.reshape(-1, gradient.shape[-1])
    return jax.ops.segment_sum(flat, indices.reshape(-1), rows), None


_rows.defvjp(_rows_forward, _rows_backward)


def rows_by_segment_sum(layer, inputs, weights, state, call):
    """Rows of a table with a gradient by ``jax.ops.segment_sum``."""
    return OpResult((_rows(inputs[0], inputs[1]),))


def rows_by_take(layer, inputs, weights, state, call):
    """``jnp.take``."""
    return OpResult((jnp.take(inputs[0], inputs[1], axis=0),))


def conv_with_bias(layer, inputs, weights, state, call):
    """A 1x1 convolution as a product, plus a bias for each channel."""
    x = inputs[0]
    kernel = weights[0].reshape(weights[0].shape[-2:]) if call.channels_last else weights[0][..., 0, 0].T
    y = jnp.tensordot(x if call.channels_last else jnp.moveaxis(x, 1, -1), kernel, 1) + weights[1]
    return OpResult((y if call.channels_last else jnp.moveaxis(y, -1, 1),))


def attention(layer, inputs, weights, state, call):
    """``jax.nn.dot_product_attention``."""
    return OpResult((jax.nn.dot_product_attention(*inputs),))


def log1p(layer, inputs, weights, state, call):
    """``jnp.log1p``."""
    return OpResult((jnp.log1p(inputs[0]),))


def arctanh(layer, inputs, weights, state, call):
    """``jnp.arctanh``."""
    return OpResult((jnp.arctanh(inputs[0]),))


def power(layer, inputs, weights, state, call):
    """``jnp.power``."""
    return OpResult((jnp.power(*inputs),))


def relu(layer, inputs, weights, state, call):
    """``jax.nn.relu``."""
    return OpResult((jax.nn.relu(inputs[0]),))


def reduce_maximum(layer, inputs, weights, state, call):
    """``jnp.max``."""
    return OpResult((jnp.max(inputs[0], call.axes(layer.axes, inputs[0].ndim), keepdims=True),))


def top_k(layer, inputs, weights, state, call):
    """``lax.top_k`` along the last axis."""
    return OpResult(tuple(lax.top_k(inputs[0], layer.k)))
