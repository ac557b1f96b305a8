"""Rectifiers: activations made of straight lines (and hard-swish, made of straight lines and one parabola)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from cnnbench.errors import FieldError
from cnnbench.spec.layers.arrays import Initializer, Signal, WeightSpec
from cnnbench.spec.layers.base import Layer, Shapes, require_one_of, require_rank
from cnnbench.spec.layers.signals import bent, rectified


@dataclass(frozen=True, kw_only=True)
class ReLU6(Layer, kind="relu6"):
    """min(max(x, 0), 6). The gradient at 0 and at 6 is 0.

    Shapes: any -> the same. Source: Howard et al., "MobileNets" (2017); Krizhevsky, "Convolutional deep belief
    networks on CIFAR-10" (2010).
    """

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return rectified(inputs[0])


@dataclass(frozen=True, kw_only=True)
class LeakyReLU(Layer, kind="leaky_relu"):
    """x where x > 0, negative_slope x elsewhere.

    Args:
        negative_slope: PyTorch, ONNX and JAX have 0.01, TensorFlow's function 0.2, Keras' layer 0.3, Darknet 0.1.

    Shapes: any -> the same. Source: Maas, Hannun, Ng, "Rectifier nonlinearities" (2013), section 2.
    """

    negative_slope: float = 0.01

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return rectified(inputs[0], self.negative_slope)


@dataclass(frozen=True, kw_only=True)
class PReLU(Layer, kind="prelu"):
    """x where x > 0, weight x elsewhere: a leaky ReLU whose slope is learned.

    Args:
        slopes: ``"one"`` for the layer (PyTorch's default) or one a ``"channel"`` (the paper; Keras' layer has one
            for every element unless axes are shared).
        initial: The slope at the start: 0.25 in the paper and PyTorch, 0 in Keras, 0.01 in flax.

    Shapes:
        (N, C, *spatial) -> the same.

    Weights:
        weight (1,) or (C,), exempt from decay of kernels, as the paper advises.

    Source: He et al., "Delving deep into rectifiers" (2015), section 2.1.
    """

    slopes: Literal["one", "channel"] = "one"
    initial: float = 0.25

    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=2)
        require_one_of(self.slopes, "slopes", ("one", "channel"))
        return self

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        count = inputs[0][1] if self.slopes == "channel" else 1
        return (WeightSpec("weight", (count,), Initializer("constant", self.initial), decay=False),)

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return rectified(inputs[0], self.initial)


@dataclass(frozen=True, kw_only=True)
class ThresholdedReLU(Layer, kind="thresholded_relu"):
    """x where x > alpha, 0 elsewhere.

    Args:
        alpha: The threshold: 1 in ONNX and Keras.

    Shapes: any -> the same. Source: Konda, Memisevic, Krueger, "Zero-bias autoencoders" (2014), section 3.
    """

    alpha: float = 1.0

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return rectified(inputs[0])


@dataclass(frozen=True, kw_only=True)
class Shrink(Layer, kind="shrink"):
    """x + bias where x < -threshold, x - bias where x > threshold, 0 between.

    Args:
        threshold: Not negative; ONNX and PyTorch call it lambda, with 0.5.
        bias: 0 is hard shrinkage, ``threshold`` is soft shrinkage (continuous).

    Shapes: any -> the same. Source: ONNX's Shrink; Donoho, "De-noising by soft-thresholding" (1995).
    """

    threshold: float = 0.5
    bias: float = 0.0

    def resolve(self, inputs: Shapes) -> Self:
        if not self.threshold >= 0:
            raise FieldError("threshold", received=self.threshold, expected="a number of at least 0")
        return self


@dataclass(frozen=True, kw_only=True)
class HardSigmoid(Layer, kind="hard_sigmoid"):
    """min(max(slope x + offset, 0), 1). The gradient at both corners is 0.

    Args:
        slope: 1/6 in PyTorch, JAX and Keras 3 (MobileNetV3's relu6(x + 3) / 6); 0.2 in ONNX and Keras 2.
        offset: 1/2 everywhere.

    Shapes: any -> the same. Source: Courbariaux et al. (2015), section 2.3; Howard et al., "Searching for
    MobileNetV3" (2019), section 5.2.
    """

    slope: float = 1 / 6
    offset: float = 0.5

    def resolve(self, inputs: Shapes) -> Self:
        if not self.slope > 0:
            raise FieldError("slope", received=self.slope, expected="a positive number")
        return self

    def is_relu6(self) -> bool:
        """Whether it is relu6(x + 3) / 6, which frameworks have as a function."""
        return self.slope == 1 / 6 and self.offset == 0.5

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return Signal(0.3, 0.5)


@dataclass(frozen=True, kw_only=True)
class HardSwish(Layer, kind="hard_swish"):
    """x relu6(x + 3) / 6. The gradient is (2 x + 3) / 6 within (-3, 3), and at the corners 0 and 1.

    Shapes: any -> the same. Source: Howard et al., "Searching for MobileNetV3" (2019), section 5.2.
    """

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return bent(inputs[0], 0.35, 0.17)
