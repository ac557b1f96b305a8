"""Sums, means, norms and variances, as ``torch.export`` writes them."""

from __future__ import annotations

import math
from typing import Any

from cnnbench.spec.graph import Value
from cnnbench.spec.layers import GlobalAvgPool
from cnnbench.spec.layers.arithmetic import Affine, Elementwise
from cnnbench.spec.layers.merge import Subtract
from cnnbench.spec.layers.reduction import Reduce
from cnnbench_torch.reading.call import AtenCall, NotReadError, reads
from cnnbench_torch.reading.shapes import batch_axis

_REDUCTIONS: dict[str, Any] = {"mean": "mean", "sum": "sum", "amax": "max", "amin": "min", "logsumexp": "log_sum_exp"}


@reads(*_REDUCTIONS)
def reduce(call: AtenCall) -> Value:
    """A mean over all positions is global pooling."""
    x = call.value("self")
    rank, axes = len(x.shape), _reduced(call, x)
    keep = bool(call.arguments.get("keepdim"))
    if call.op == "mean" and rank > 2 and axes == tuple(range(2, rank)):
        return call.add(GlobalAvgPool(keep_spatial=keep), x)
    return call.add(Reduce(function=_REDUCTIONS[call.op], axes=axes, keepdims=keep), x)


def extreme_along(call: AtenCall) -> Value:
    """The largest or least along an axis.

    Args:
        call: ``max`` or ``min`` with an axis.
    """
    x = call.value("self")
    layer = Reduce(function=call.op, axes=_reduced(call, x), keepdims=bool(call["keepdim"]))  # type: ignore[arg-type]
    return call.add(layer, x)


def _reduced(call: AtenCall, x: Value) -> tuple[int, ...]:
    given, rank = call.arguments.get("dim"), len(x.shape)
    axes = tuple(sorted(axis % rank for axis in ([given] if isinstance(given, int) else given or range(rank))))
    if batch_axis(x, call.arguments["source_shape"]) in axes:
        raise NotReadError("over the batch")
    return axes


@reads("linalg_vector_norm")
def norm(call: AtenCall) -> Value:
    """The first and the second."""
    function = {1: "l1", 2: "l2"}.get(call["ord"])
    if function is None:
        raise NotReadError(f"the norm of order {call['ord']}")
    x = call.value("self")
    return call.add(Reduce(function=function, axes=_reduced(call, x), keepdims=bool(call["keepdim"])), x)  # type: ignore[arg-type]


@reads("var", "std")
def variance(call: AtenCall) -> Value:
    """As arithmetic: the mean of squares around the mean, times n / (n - correction)."""
    x = call.value("self")
    axes = _reduced(call, x)
    correction = call.arguments.get("correction")
    unbiased = call.arguments.get("unbiased")
    correction = (1 if unbiased else 0) if unbiased is not None else 1 if correction is None else correction
    mean = call.add(Reduce(function="mean", axes=axes), x, part="mean")
    centred = call.add(Subtract(), x, mean, part="centred")
    squares = call.add(Elementwise(function="square"), centred, part="squares")
    keep = bool(call.arguments.get("keepdim"))
    found = call.add(Reduce(function="mean", axes=axes, keepdims=keep), squares, part="variance")
    count = math.prod(x.shape[axis] for axis in axes)
    if correction:
        found = call.add(Affine(scale=count / (count - correction)), found, part="corrected")
    return call.add(Elementwise(function="sqrt"), found, part="root") if call.op == "std" else found
