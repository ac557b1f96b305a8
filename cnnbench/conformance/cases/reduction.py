"""Reductions: cases shared by all backends."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from cnnbench.conformance.cases.case import EVEN, ROW, Draw, LayerCase
from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.reduction import ArgReduce, Reduce, ReduceFunction, TopK


def _positive(generator: Any, shape: Shape) -> Any:
    return generator.uniform(0.2, 2.0, shape)


def _few(generator: Any, shape: Shape) -> Any:
    """Whole numbers that repeat: ties everywhere."""
    return generator.integers(-2, 3, shape).astype(np.float32)


def _some_zero(generator: Any, shape: Shape) -> Any:
    return generator.normal(size=shape) * (generator.random(shape) < 0.7)


def _distinct(generator: Any, shape: Shape) -> Any:
    return generator.permutation(int(np.prod(shape))).reshape(shape) / 8.0


_DRAWS: dict[str, Draw] = {"log_sum": _positive}


def _reduce(function: Any, axes: tuple[int, ...] | None, *, keepdims: bool = True, draw: Draw | None = None) -> Any:
    layer = Reduce(function=function, axes=axes, keepdims=keepdims)
    return LayerCase(layer, EVEN, draws=(draw or _DRAWS.get(function),))


CASES = {
    **{f"reduce/{name}": _reduce(name, (2, 3)) for name in get_args(ReduceFunction)},
    **{f"reduce/{name}_of_channels": _reduce(name, (1,)) for name in get_args(ReduceFunction)},
    **{f"reduce/{name}_let_go": _reduce(name, (-2,), keepdims=False) for name in get_args(ReduceFunction)},
    "reduce/sum_of_all": _reduce("sum", None),
    "reduce/sum_of_all_let_go": _reduce("sum", None, keepdims=False),
    "reduce/sum_of_none": _reduce("sum", ()),
    "reduce/l2_of_none": _reduce("l2", (), keepdims=False),
    "reduce/mean_of_batch": _reduce("mean", (0,)),
    "reduce/mean_of_batch_let_go": _reduce("mean", (0,), keepdims=False),
    "reduce/mean_of_channels_let_go": _reduce("mean", (1,), keepdims=False),
    "reduce/mean_of_outer_let_go": _reduce("mean", (0, 2), keepdims=False),
    "reduce/mean_of_row": LayerCase(Reduce(function="mean", axes=(-1,)), ROW, batch=3),
    "reduce/mean_3d": LayerCase(Reduce(function="mean", axes=(2, 4), keepdims=False), ((2, 3, 4, 5),)),
    "reduce/sum_positive": LayerCase(Reduce(function="sum", axes=(1,)), ((3000,),), draws=(_positive,)),
    "reduce/mean_positive": LayerCase(Reduce(function="mean", axes=(2, 3)), ((3, 24, 30),), positive=True),
    "reduce/l2_positive": LayerCase(Reduce(function="l2", axes=(1,)), ((500,),), positive=True),
    "reduce/max_ties": _reduce("max", (2, 3), draw=_few),
    "reduce/min_ties": _reduce("min", (1,), draw=_few),
    "reduce/prod_with_zeros": _reduce("prod", (1, 3), draw=_some_zero),
    "reduce/l1_with_zeros": _reduce("l1", (2,), draw=_some_zero),
    "reduce/l2_of_zeros": _reduce("l2", (1,), draw=lambda generator, shape: np.zeros(shape, np.float32)),
    "reduce/log_sum_exp_large": LayerCase(Reduce(function="log_sum_exp", axes=(1,)), EVEN, shift=200.0, scale=5.0),
    "reduce/log_sum_exp_small": LayerCase(Reduce(function="log_sum_exp", axes=(3,)), EVEN, shift=-200.0, scale=5.0),
    "arg_reduce/max": LayerCase(ArgReduce(function="argmax"), EVEN),
    "arg_reduce/min_let_go": LayerCase(ArgReduce(function="argmin", axis=2, keepdims=False), EVEN),
    "arg_reduce/max_of_channels_let_go": LayerCase(ArgReduce(function="argmax", keepdims=False), EVEN),
    "arg_reduce/first_of_ties": LayerCase(ArgReduce(function="argmax", axis=-1), EVEN, draws=(_few,)),
    "arg_reduce/last_of_ties": LayerCase(
        ArgReduce(function="argmin", axis=1, select_last_index=True), EVEN, draws=(_few,)
    ),
    "arg_reduce/row": LayerCase(ArgReduce(function="argmax", keepdims=False), ROW, batch=3),
    "top_k/row": LayerCase(TopK(k=4), ROW, batch=3, draws=(_distinct,)),
    "top_k/smallest": LayerCase(TopK(k=3, largest=False), EVEN, draws=(_distinct,)),
    "top_k/channels": LayerCase(TopK(k=2, axis=1), EVEN, draws=(_distinct,)),
    "top_k/middle_axis": LayerCase(TopK(k=5, axis=2), EVEN, draws=(_distinct,)),
    "top_k/all": LayerCase(TopK(k=10), ROW, draws=(_distinct,)),
    "top_k/ties": LayerCase(TopK(k=4), ROW, batch=5, draws=(_few,)),
}
