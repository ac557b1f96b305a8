"""Activations: element-wise functions, and softmax along an axis."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from cnnbench.spec.layers.arrays import Signal
from cnnbench.spec.layers.axes import resolve_axis
from cnnbench.spec.layers.base import Layer, Shapes
from cnnbench.spec.layers.signals import rectified


@dataclass(frozen=True, kw_only=True)
class ReLU(Layer, kind="relu"):
    """max(x, 0). The gradient at 0 is 0; NaN stays NaN. Shapes: any -> the same."""

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return rectified(inputs[0])


@dataclass(frozen=True, kw_only=True)
class Tanh(Layer, kind="tanh"):
    """output_scale * tanh(input_scale * x).

    Args:
        input_scale: S. output_scale: A. LeNet-5 has A = 1.7159, S = 2/3 (LeCun et al. 1998, appendix A).

    Shapes: any -> the same.
    """

    input_scale: float = 1.0
    output_scale: float = 1.0

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return Signal(self.output_scale**2 * min(1.0, self.input_scale**2 * inputs[0].square))


@dataclass(frozen=True, kw_only=True)
class Sigmoid(Layer, kind="sigmoid"):
    """1 / (1 + exp(-x)). Shapes: any -> the same."""

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return Signal(0.3, 0.5)  # 1/2 at 0, and a variance of 0.05


@dataclass(frozen=True, kw_only=True)
class Softmax(Layer, kind="softmax"):
    """exp(x_i) / sum_j exp(x_j) along ``axis``, computed after subtracting the maximum.

    Args:
        axis: The axis in the canonical layout; 1 is the channel axis. Negative counts from the end.

    Shapes: any -> the same.
    """

    axis: int = 1

    def resolve(self, inputs: Shapes) -> Self:
        return replace(self, axis=resolve_axis(self.axis, len(inputs[0])))


@dataclass(frozen=True, kw_only=True)
class LogSoftmax(Softmax, kind="log_softmax"):
    """x_i - log sum_j exp(x_j) along an axis, computed after subtracting the maximum.

    Args:
        axis: As ``softmax``.

    Shapes: any -> the same.
    """


@dataclass(frozen=True, kw_only=True)
class Hardmax(Softmax, kind="hardmax"):
    """1 at the first maximum along an axis, 0 elsewhere; its gradient is 0 everywhere, so it has none here.

    Args:
        axis: As ``softmax``.

    Shapes: any -> the same. Source: ONNX's Hardmax (whose default axis is -1; here 1, as in ``softmax``).
    """

    differentiable = False
