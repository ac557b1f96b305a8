"""The fast mode's own ops with their gradients: what training runs, and how kernels hold their weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.operations import Backward, Call, Forward, Gradients, Operations, OpResult, WeightLayout
from cnnbench.spec.layers import BatchNorm, Conv, ReLU
from cnnbench_numpy.fast.conv import CONV_WEIGHTS
from cnnbench_numpy.fast.conv_gradient import convolution_gradients
from cnnbench_numpy.fast.epilogue import KernelOperands, Rectify
from cnnbench_numpy.fast.kernels import ElementwiseKernel, conv_kernel
from cnnbench_numpy.fast.normalization import batch_norm_gradients, column_sums, normalize_batch
from cnnbench_numpy.fast.team import team
from cnnbench_numpy.ops import REFERENCE
from cnnbench_numpy.ops.normalization import running_statistics

Array = NDArray[Any]
Arrays = tuple[Array, ...]

FAST = Operations("numpy", REFERENCE)


def _plain_backward(kind: str) -> Backward:
    backward = REFERENCE[kind].backward
    if backward is None:
        raise ValueError(f"{kind} has no backward op")
    return backward


def _channels_last(
    kind: str, *, backward: Backward, weight_layout: WeightLayout | None = None
) -> Callable[[Forward], Forward]:
    """Registers a pair that is written for channels-last images; canonical ones take the reference's."""
    plain, plain_backward = REFERENCE[kind], _plain_backward(kind)

    def decorate(forward: Forward) -> Forward:
        def either_forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
            chosen = forward if call.channels_last and inputs[0].ndim > 2 else plain.forward
            return chosen(layer, inputs, weights, state, call)

        def either_backward(layer: Any, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
            chosen = backward if call.channels_last and gradients[0].ndim > 2 else plain_backward
            return chosen(layer, saved, gradients, weights, call)

        layout = weight_layout or plain.weight_layout
        FAST.register(kind, backward=either_backward, weight_layout=layout)(either_forward)
        return forward

    return decorate


def conv_backward(layer: Conv, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The gradients by blocks of images, the bias' by sums over columns."""
    dy = gradients[0]
    dx, d_weight = convolution_gradients(layer, saved, dy, weights[0], team())
    d_bias = (column_sums(dy.reshape(-1, dy.shape[-1]), team()),) if layer.bias else ()
    return Gradients((dx,), (d_weight, *d_bias))


@_channels_last("conv", backward=conv_backward, weight_layout=CONV_WEIGHTS)
def conv(layer: Conv, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """A kernel made for the shape of the images."""
    x = inputs[0]
    kernel = conv_kernel(layer, x.shape, x.dtype.str, team())
    y = np.empty(kernel.geometry.out, x.dtype)
    kernel.run(KernelOperands(inputs, weights, state), y)
    return OpResult((y,), saved=x)


def batch_norm_backward(layer: BatchNorm, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The gradient through the batch's statistics, by blocks; at inference the reference's."""
    if not call.training:
        return _plain_backward("batch_norm")(layer, saved, gradients, weights, call)
    dx, sums = batch_norm_gradients(layer, saved, gradients[0], weights, team())
    return Gradients((dx,), sums if layer.affine else ())


@_channels_last("batch_norm", backward=batch_norm_backward)
def batch_norm(layer: BatchNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Statistics of the batch, by blocks; at inference the reference's."""
    if not call.training:
        return REFERENCE["batch_norm"].forward(layer, inputs, weights, state, call)
    y, mean, variance, inverse_std = normalize_batch(layer, inputs[0], weights, team())
    count = inputs[0].size // inputs[0].shape[-1]
    return OpResult((y,), running_statistics(layer, mean, variance, state, count), (inputs[0], mean, inverse_std))


@_channels_last("relu", backward=_plain_backward("relu"))
def relu(layer: ReLU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """max(x, 0) in blocks."""
    x = np.ascontiguousarray(inputs[0])
    y = np.empty_like(x)
    ElementwiseKernel(x.shape, (Rectify(),), team()).run(KernelOperands((x,), (), ()), y)
    return OpResult((y,), saved=y)
