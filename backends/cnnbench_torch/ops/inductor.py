"""Functions that Inductor compiles wrongly on the host (PyTorch 2.13), in forms that it compiles rightly.

Each has its derivative beside it: what automatic differentiation makes of a form would cancel in its turn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class _Expm1(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        half = torch.clamp(x, min=-80.0) / 2  # from there down it is -1, and sinh would overflow
        return 2 * torch.sinh(half) * torch.exp(half)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradients[0] * torch.exp(x)


class _Atanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        size = torch.abs(x)
        return torch.copysign(torch.log1p(2 * size / (1 - size)) / 2, x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradients[0] / ((1 - x) * (1 + x))


class _Erf(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.erf(x.to(torch.float64)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradients[0] * (2 / math.sqrt(math.pi)) * torch.exp(-x * x)


class _IndexSelect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: int, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.axis, ctx.size = axis, x.shape[axis]
        return x.index_select(axis, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (index,) = ctx.saved_tensors
        cotangent = gradients[0].transpose(ctx.axis, -1)
        taken = torch.arange(ctx.size, device=index.device)[:, None] == index
        return functional.linear(cotangent, taken.to(cotangent.dtype)).transpose(ctx.axis, -1), None, None


def index_select(x: Tensor, axis: int, index: Tensor) -> Tensor:
    """``index_select`` whose gradient is a product with zeros and ones.

    Inductor adds the gradient up in place at indices, and where it also transposes the cotangent, it adds the offset
    within a tile twice: it writes beyond the end of its buffer.

    Args:
        x: From which rows are taken.
        axis: Of ``x``.
        index: (K,) positions on that axis.
    """
    if not torch.compiler.is_compiling():
        return x.index_select(axis, index)
    apply: Callable[[Tensor, int, Tensor], Tensor] = _IndexSelect.apply
    return apply(x, axis, index)


def expm1(x: Tensor) -> Tensor:
    """exp(x) - 1 as 2 sinh(x / 2) exp(x / 2): Inductor writes exp(x) - 1, of which -1.28e-6 loses 2%."""
    return torch.expm1(x) if not torch.compiler.is_compiling() else _applied(_Expm1, x)


def atanh(x: Tensor) -> Tensor:
    """sign(x) log1p(2 |x| / (1 - |x|)) / 2: Inductor writes log((1 + x) / (1 - x)) / 2, which cancels near 0."""
    return torch.atanh(x) if not torch.compiler.is_compiling() else _applied(_Atanh, x)


def erf(x: Tensor) -> Tensor:
    """In float64: Inductor's float32 form is one whose absolute error is 1e-7 near 0, too."""
    return torch.erf(x) if not torch.compiler.is_compiling() else _applied(_Erf, x)


def _applied(function: type[torch.autograd.Function], x: Tensor) -> Tensor:
    apply: Callable[[Tensor], Tensor] = function.apply
    return apply(x)
