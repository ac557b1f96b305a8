"""Normalisation by magnitude, no mean subtracted: local response, RMS, filter response, Lp."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from cnnbench.errors import FieldError
from cnnbench.spec.layers.arrays import ONES, SCALES, Signal, WeightSpec
from cnnbench.spec.layers.axes import resolve_axis, resolve_start_axis
from cnnbench.spec.layers.base import Layer, Shapes, require_int, require_one_of, require_rank
from cnnbench.spec.layers.normalization import affine_weights
from cnnbench.spec.layers.standardization import require_eps


@dataclass(frozen=True, kw_only=True)
class LocalResponseNorm(Layer, kind="local_response_norm"):
    """y_c = x_c / (k + a sum_j x_j^2)^beta, j over ``size`` neighbouring channels, c among them.

    Args:
        size: Channels in the window; those beyond the first and the last channel count as zero.
        alpha, beta, k: a is alpha / size or alpha. AlexNet's paper has size 5, alpha 1e-4, beta 0.75, k 2, undivided.
        alpha_divided_by_size: True is Caffe's, PyTorch's and ONNX's convention; TensorFlow's function and the paper
            do not divide.
        even_window: Where the extra channel of an even window is: ``"before"`` c (PyTorch) or ``"after"`` (ONNX).
            TensorFlow and Caffe have odd windows only.

    Shapes:
        (N, C, *spatial) -> the same.

    Source: Krizhevsky, Sutskever, Hinton, "ImageNet classification" (2012), section 3.3.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0
    alpha_divided_by_size: bool = True
    even_window: Literal["before", "after"] = "before"

    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=2)
        require_int(self.size, "size", least=1)
        require_one_of(self.even_window, "even_window", ("before", "after"))
        if not self.k > 0 or not self.alpha >= 0:
            raise FieldError(
                "alpha",
                "or k is not valid",
                received=(self.alpha, self.k),
                expected="alpha of at least 0, a positive k",
            )
        return self

    def reach(self) -> tuple[int, int]:
        """How many channels the window has before and after its own."""
        less, more = (self.size - 1) // 2, self.size // 2
        return (more, less) if self.even_window == "before" else (less, more)

    def factor(self) -> float:
        """What the sum of squares is multiplied by."""
        return self.alpha / self.size if self.alpha_divided_by_size else self.alpha


@dataclass(frozen=True, kw_only=True)
class RMSNorm(Layer, kind="rms_norm"):
    """y = x / sqrt(mean(x^2) + eps) * weight over the axes from ``start_axis`` to the last.

    Args:
        start_axis: The first normalised axis in the canonical layout; -1 for the channels of tokens.
        eps: Inside the root. The paper has none; PyTorch's default depends on the type, so give it.
        affine: Whether the weight exists.

    Shapes:
        any -> the same.

    Weights:
        weight of the normalised shape.

    Source: Zhang, Sennrich, "Root mean square layer normalization" (2019), equation 4.
    """

    start_axis: int = -1
    eps: float = 1e-6
    affine: bool = True

    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=2)
        require_eps(self.eps)
        return replace(self, start_axis=resolve_start_axis(self.start_axis, inputs[0]))

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        weight = WeightSpec("weight", inputs[0][self.start_axis :], ONES, decay=False, general=SCALES)
        return (weight,) if self.affine else ()

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return Signal(1.03)


@dataclass(frozen=True, kw_only=True)
class FilterResponseNorm(Layer, kind="filter_response_norm"):
    """y = x / sqrt(nu^2 + eps) * weight + bias, nu^2 the mean of x^2 over all positions of an image's channel.

    Args:
        eps: Inside the root. Fixed; the paper learns it where a channel has one position only.

    Shapes:
        (N, C, *spatial) -> the same.

    Weights:
        weight (C,), bias (C,).

    Source: Singh, Krishnan, "Filter response normalization layer" (2019), equations 1 and 2.
    """

    eps: float = 1e-6

    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3)
        require_eps(self.eps)
        return self

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        return affine_weights(inputs[0][1])


@dataclass(frozen=True, kw_only=True)
class LpNorm(Layer, kind="lp_normalization"):
    """y = x / max(||x||_p, eps) along ``axis``.

    Args:
        p: 1 (sum of magnitudes) or 2 (Euclidean).
        axis: In the canonical layout; 1 is the channel axis. Negative counts from the end.
        eps: The least divisor (PyTorch's convention; TensorFlow's l2_normalize has a least sum of squares, the square
            of this; ONNX gives 0 for a vector of zeros, as this does).

    Shapes:
        any -> the same.

    Source: PyTorch's ``functional.normalize``; ONNX's LpNormalization.
    """

    p: int = 2
    axis: int = 1
    eps: float = 1e-12

    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        require_one_of(self.p, "p", (1, 2))
        require_eps(self.eps)
        return replace(self, axis=resolve_axis(self.axis, len(inputs[0])))
