"""PyTorch's own calls, used plainly: what a user would write who has not heard of the defects in them."""

from __future__ import annotations

import torch
from torch.nn import functional

from cnnbench.execution.operations import OpResult


def avg_pool2d(layer, inputs, weights, state, call):
    """``avg_pool2d`` with the layer's own settings."""
    padding = [begin for begin, _ in layer.padding]
    y = functional.avg_pool2d(
        inputs[0], layer.kernel_size, layer.stride, padding, layer.ceil_mode, layer.count_include_pad
    )
    return OpResult((y,))


def conv2d_without_mkldnn(layer, inputs, weights, state, call):
    """``conv2d`` where oneDNN is switched off, as builds and machines without it run."""
    padding = [begin for begin, _ in layer.padding]
    with torch.backends.mkldnn.flags(enabled=False):
        return OpResult((functional.conv2d(inputs[0], *weights, stride=layer.stride, padding=padding),))


def pointwise(layer, inputs, weights, state, call):
    """``conv2d`` of an image in the memory format ``channels_last``."""
    image = inputs[0].to(memory_format=torch.channels_last)
    return OpResult((functional.conv2d(image, *weights),))


def gelu(layer, inputs, weights, state, call):
    """``gelu`` in its exact form."""
    return OpResult((functional.gelu(inputs[0]),))


def conv_transpose2d(layer, inputs, weights, state, call):
    """``conv_transpose2d`` with the layer's own settings, without padding."""
    return OpResult((functional.conv_transpose2d(inputs[0], *weights, layer.stride),))


class _IndexAdd(torch.autograd.Function):
    """Rows of a table, whose gradient is ``index_add``."""

    @staticmethod
    def forward(context, table, indices):
        context.save_for_backward(indices)
        context.rows = table.shape[0]
        return table[indices]

    @staticmethod
    def backward(context, gradient):
        (indices,) = context.saved_tensors
        width = gradient.shape[-1]
        total = torch.zeros((context.rows, width), dtype=gradient.dtype)
        return total.index_add(0, indices.reshape(-1), gradient.reshape(-1, width)), None


def rows_by_index_add(layer, inputs, weights, state, call):
    """Rows of a table with a gradient by ``index_add``."""
    return OpResult((_IndexAdd.apply(inputs[0], inputs[1]),))


def rows_by_embedding(layer, inputs, weights, state, call):
    """``functional.embedding``."""
    return OpResult((functional.embedding(inputs[1], inputs[0]),))


def local_response_norm(layer, inputs, weights, state, call):
    """``local_response_norm``."""
    y = functional.local_response_norm(inputs[0], layer.size, layer.alpha, layer.beta, layer.k)
    return OpResult((y,))


def elu(layer, inputs, weights, state, call):
    """``elu``."""
    return OpResult((functional.elu(inputs[0], layer.alpha),))


def erf(layer, inputs, weights, state, call):
    """``torch.erf``."""
    return OpResult((torch.erf(inputs[0]),))


def atanh(layer, inputs, weights, state, call):
    """``torch.atanh``."""
    return OpResult((torch.atanh(inputs[0]),))


def gru(layer, inputs, weights, state, call):
    """``torch.gru`` from zeros, and its last state without the axis of layers."""
    start = inputs[0].new_zeros(1, inputs[0].shape[0], layer.hidden_size)
    y, h = torch.gru(inputs[0], start, list(weights), True, 1, 0.0, call.training, False, True)
    return OpResult((y, h[0]))


def hardsigmoid(layer, inputs, weights, state, call):
    """``hardsigmoid``."""
    return OpResult((functional.hardsigmoid(inputs[0]),))


def interpolate_nearest(layer, inputs, weights, state, call):
    """``interpolate`` in its mode nearest."""
    return OpResult((functional.interpolate(inputs[0], size=layer.size, mode="nearest"),))


def group_norm(layer, inputs, weights, state, call):
    """``group_norm``, of images as they lie."""
    return OpResult((functional.group_norm(inputs[0], layer.groups, *weights, eps=layer.eps),))


def instance_norm(layer, inputs, weights, state, call):
    """``instance_norm``, whose gradient arrives channels-last as a convolution above would hand it back."""
    weight, bias = weights
    y = functional.instance_norm(inputs[0], weight=weight, bias=bias, eps=layer.eps)
    if y.requires_grad:
        y.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
    return OpResult((y,))


def sign(layer, inputs, weights, state, call):
    """``torch.sign``."""
    return OpResult((torch.sign(inputs[0]),))
