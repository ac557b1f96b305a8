"""Pooling on ``torch.nn.functional``."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import AdaptiveAvgPool, AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool, Subsample, Window
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.pooling import MinPool
from cnnbench.spec.layers.windows import require_pairs
from cnnbench_torch.ops.registry import OPERATIONS
from cnnbench_torch.ops.windows import full_padding, native_padding, pad_spatial

Tensors = tuple[Tensor, ...]
_MAX_POOLS = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
_AVG_POOLS = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)
_ADAPTIVE_POOLS = (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d)


@OPERATIONS.register("max_pool")
def max_pool(layer: MaxPool, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``max_poolNd``; padding that it does not take is added before as minus infinity."""
    x, window = inputs[0], layer.window()
    padding, ceil_mode = native_padding(layer), layer.ceil_mode
    if padding is None:
        x = pad_spatial(x, full_padding(layer, x.shape[2:])[1], -math.inf)
        padding, ceil_mode = (0,) * (x.dim() - 2), False
    function = _MAX_POOLS[x.dim() - 3]
    return OpResult((function(x, window.kernel_size, window.stride, padding, window.dilation, ceil_mode),))


@OPERATIONS.register("min_pool")
def min_pool(layer: MinPool, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """Minus ``max_poolNd`` of -x: PyTorch has none of its own."""
    (largest,) = max_pool(layer.maximum(), (-inputs[0],), weights, state, call).outputs
    return OpResult((-largest,))


@OPERATIONS.register("avg_pool")
def avg_pool(layer: AvgPool, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``avg_poolNd`` where every window lies within symmetric padding, else a windowed sum over its own divisors.

    Windows that reach beyond the padding (``ceil_mode``) are kept from the library's function: in PyTorch 2.13 its
    compiled gradient is wrong for them without a word.
    """
    x, window = inputs[0], layer.window()
    if x.dim() == 5 and x.dtype in (torch.bfloat16, torch.float16) and x.device.type == "cpu":
        # avg_pool3d has no narrow types on the host ("avg_pool3d_out_frame" not implemented, PyTorch 2.13).
        wide = avg_pool(layer, (x.float(),), weights, state, call)
        return OpResult((wide.outputs[0].to(x.dtype),))
    spatial = tuple(x.shape[2:])
    sizes, full = full_padding(layer, spatial)
    padding = native_padding(layer)
    partial = any(end > asked for (_, end), (_, asked) in zip(full, require_pairs(layer.padding), strict=True))
    # avg_pool3d compares its window with the input without its padding, and refuses (PyTorch 2.13).
    refused = len(spatial) == 3 and any(k > n for k, n in zip(window.kernel_size, spatial, strict=True))
    if padding is not None and not partial and not refused and layer.divisor is None:
        function = _AVG_POOLS[len(spatial) - 1]
        pooled = function(x, window.kernel_size, window.stride, padding, False, layer.count_include_pad)
        return OpResult((pooled,))
    total = windowed_sum(pad_spatial(x, full), window)
    if layer.divisor is not None:
        return OpResult((total if layer.divisor == 1 else total / layer.divisor,))
    return OpResult((total / _divisors(layer, spatial, sizes, total),))


def windowed_sum(x: Tensor, window: Window) -> Tensor:
    """The sum of each window that lies within ``x``; of shifted views where it is dilated, which pooling cannot."""
    kernel, stride = window.kernel_size, window.stride
    if any(d > 1 for d in window.dilation):
        return _sum_of_views(x, window)
    if len(kernel) == 1:  # avg_pool1d has no divisor
        return functional.avg_pool2d(x.unsqueeze(2), (1, *kernel), (1, *stride), divisor_override=1).squeeze(2)
    function = functional.avg_pool2d if len(kernel) == 2 else functional.avg_pool3d
    return function(x, kernel, stride, divisor_override=1)


def _sum_of_views(x: Tensor, window: Window) -> Tensor:
    total: Tensor | None = None
    for tap in itertools.product(*map(range, window.kernel_size)):
        places = []
        for size, k, taps, s, d in zip(
            x.shape[2:], tap, window.kernel_size, window.stride, window.dilation, strict=True
        ):
            places.append(slice(k * d, size - d * (taps - 1 - k), s))
        view = x[(..., *places)]
        total = view if total is None else total + view
    assert total is not None  # a window has at least one tap
    return total


def _divisors(layer: AvgPool, spatial: Shape, sizes: Shape, like: Tensor) -> Tensor:
    """How many positions each window counts, of shape (*sizes)."""
    window = layer.window()
    counts = torch.ones((), dtype=like.dtype, device=like.device)
    for axis, (begin, end) in enumerate(require_pairs(layer.padding)):
        first, last = (-begin, spatial[axis] + end) if layer.count_include_pad else (0, spatial[axis])
        starts = [i * window.stride[axis] - begin for i in range(sizes[axis])]
        inside = [min(start + window.kernel_size[axis], last) - max(start, first) for start in starts]
        counts = counts.unsqueeze(-1) * torch.tensor(inside, dtype=like.dtype, device=like.device)
    return counts


def _spatial_axes(x: Tensor) -> Sequence[int]:
    return tuple(range(2, x.dim()))


@OPERATIONS.register("global_avg_pool")
def global_avg_pool(layer: GlobalAvgPool, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """The mean over the spatial axes."""
    return OpResult((inputs[0].mean(_spatial_axes(inputs[0]), keepdim=layer.keep_spatial),))


@OPERATIONS.register("global_max_pool")
def global_max_pool(layer: GlobalMaxPool, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``max_poolNd`` over everything: unlike ``amax`` it gives the whole gradient to the first maximum."""
    x = inputs[0]
    pooled = _MAX_POOLS[x.dim() - 3](x, tuple(x.shape[2:]))
    return OpResult((pooled if layer.keep_spatial else pooled.flatten(1),))


@OPERATIONS.register("adaptive_avg_pool")
def adaptive_avg_pool(
    layer: AdaptiveAvgPool, inputs: Tensors, weights: Tensors, state: Tensors, call: Call
) -> OpResult:
    """``adaptive_avg_poolNd``."""
    return OpResult((_ADAPTIVE_POOLS[inputs[0].dim() - 3](inputs[0], layer.sizes()),))


@OPERATIONS.register("subsample")
def subsample(layer: Subsample, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """Strided indexing: a view."""
    return OpResult((inputs[0][(slice(None), slice(None), *(slice(None, None, s) for s in layer.strides()))],))
