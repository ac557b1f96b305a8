"""Pooling by the p-norm of a window: L2 pooling and its kin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.base import Shapes
from cnnbench.spec.layers.pooling import WindowPool
from cnnbench.spec.layers.windows import require_pairs


@dataclass(frozen=True, kw_only=True)
class LpPool(WindowPool, kind="lp_pool"):
    """The p-norm of a window: (sum |x|^p)^(1/p), a sum and not a mean.

    The gradient of a window whose norm is 0 is 0 (PyTorch's own is NaN there).

    Args:
        kernel_size, stride, padding, dilation, ceil_mode: As ``max_pool``; padding adds zeros. PyTorch has no padding.
        p: The power, at least 1; 2 is L2 pooling, 1 the sum of magnitudes.
        absolute: Whether magnitudes are taken (ONNX). False: plain powers x^p, as PyTorch, for an integer p: where an
            odd power makes the sum negative the result is NaN.
        rescale_partial: With ``ceil_mode``, multiply the sum of a window that reaches beyond the padded input by
            window positions / positions inside, as PyTorch, whose function scales an average. ONNX does not.

    Shapes:
        (N, C, *spatial) -> (N, C, *out), out as ``max_pool``.

    Source: ONNX's LpPool (opset 18) and PyTorch's lp_pool2d; Gulcehre et al., "Learned-norm pooling" (2013).
    """

    p: float = 2.0
    absolute: bool = True
    rescale_partial: bool = False

    def resolve(self, inputs: Shapes) -> Self:
        if not self.p >= 1:
            raise FieldError("p", received=self.p, expected="a number of at least 1")
        if not self.absolute and self.p % 1:
            raise SpecError(
                "plain powers of negative numbers need an integer p",
                received=f"p={self.p}, absolute=False",
                expected="an integer p",
                remedy="take magnitudes with absolute=True",
            )
        return super().resolve(inputs)

    @property
    def by_magnitude(self) -> bool:
        """Whether |x| is raised to p; an even p has no need of magnitudes."""
        return self.absolute or self.p % 2 == 0

    def partial_scales(self, spatial: Shape) -> tuple[tuple[float, ...], ...]:
        """For each axis what ``rescale_partial`` multiplies each window's sum by: positions / positions inside."""
        window, outs = self.window(), self.output_shapes(((1, 1, *spatial),))[0][2:]
        scales = []
        for axis, (begin, end) in enumerate(require_pairs(self.padding)):
            k, s, d = (numbers[axis] for numbers in window)
            length = begin + spatial[axis] + end
            inside = [sum(i * s + tap * d < length for tap in range(k)) for i in range(outs[axis])]
            scales.append(tuple(k / count for count in inside))
        return tuple(scales)
