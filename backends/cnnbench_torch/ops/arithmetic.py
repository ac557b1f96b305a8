"""Arithmetic on single values."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.arithmetic import Affine, Clip, Elementwise, Parameter, Power
from cnnbench_torch.ops import inductor
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


def _sign(x: Tensor) -> Tensor:
    """``torch.sign``, which gives 0 for NaN (PyTorch 2.13)."""
    return torch.where(x.isnan(), x, x.sign())


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "negate": torch.neg,
    "sign": _sign,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "square": torch.square,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "exp": torch.exp,
    "expm1": inductor.expm1,
    "log": torch.log,
    "log1p": torch.log1p,
    "erf": inductor.erf,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "asin": torch.asin,
    "acos": torch.acos,
    "atan": torch.atan,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "asinh": torch.asinh,
    "acosh": torch.acosh,
    "atanh": inductor.atanh,
}


@OPERATIONS.register("parameter")
def parameter(layer: Parameter, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """The value itself."""
    return OpResult(weights)


@OPERATIONS.register("elementwise")
def elementwise(layer: Elementwise, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """The function of that name; ``torch.round`` takes halves to the even neighbour."""
    return OpResult((FUNCTIONS[layer.function](inputs[0]),))


@OPERATIONS.register("scalar_affine")
def affine(layer: Affine, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """A product and a sum, without those that change nothing."""
    y = inputs[0] if layer.scale == 1 else inputs[0] * layer.scale
    return OpResult((y if layer.shift == 0 else y + layer.shift,))


@OPERATIONS.register("clip")
def clip(layer: Clip, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.clamp``: the gradient passes at the limits, too."""
    return OpResult((torch.clamp(inputs[0], layer.minimum, layer.maximum),))


@OPERATIONS.register("scalar_power")
def power(layer: Power, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.pow``, which knows squares, cubes and roots."""
    return OpResult((torch.pow(inputs[0], layer.exponent),))
