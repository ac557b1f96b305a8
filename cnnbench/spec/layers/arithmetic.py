"""Arithmetic on single values: parameters and constants, element-wise functions, affine maps, clips and powers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self

from cnnbench.errors import SpecError
from cnnbench.spec.layers.arrays import SHIFTS, Initializer, Signal, WeightSpec
from cnnbench.spec.layers.base import Example, Layer, Shapes, require_int

Distribution = Literal["constant", "uniform", "normal", "kaiming_normal", "kaiming_uniform", "fan_in_uniform", "signs"]
Function = Literal[
    "abs",
    "negate",
    "sign",
    "floor",
    "ceil",
    "round",
    "square",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "exp",
    "expm1",
    "log",
    "log1p",
    "erf",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "asinh",
    "acosh",
    "atanh",
]


@dataclass(frozen=True, kw_only=True)
class Parameter(Layer, kind="parameter"):
    """A learned array that depends on no input: a class token, a table of positions. Not trainable, it is a constant.

    Args:
        shape: Its whole shape. Nothing is put before it: one array serves all images, so a value to be added to images
            says 1 where their batch axis is, (1, 197, 768).
        trainable: Whether it is trained; if not it counts as a buffer and its values come with the weights.
        distribution, scale, fan: How it starts, as in ``Initializer``.
        decay: Whether weight decay applies where the optimiser decays ``kernels`` only.

    Shapes:
        no input -> ``shape``.

    Weights:
        value ``shape``.
    """

    shape: tuple[int, ...]
    trainable: bool = True
    distribution: Distribution = "constant"
    scale: float = 0.0
    fan: int = 0
    decay: bool = False

    example = Example(shape=(1, 4))
    num_inputs = (0, 0)
    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        for size in self.shape:
            require_int(size, "shape", least=0)
        require_int(self.fan, "fan", least=1 if "fan" in self.distribution or "kaiming" in self.distribution else 0)
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return (self.shape,)

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        initializer = Initializer(self.distribution, self.scale, self.fan)
        general = None if self.trainable else initializer  # a constant of the computation is what it is
        if self.trainable and self.distribution != "constant":
            general = SHIFTS  # a table that is added to a signal of size 1
        value = WeightSpec("value", self.shape, initializer, self.trainable, self.decay, general)
        return (value,)


@dataclass(frozen=True, kw_only=True)
class Elementwise(Layer, kind="elementwise"):
    """A function of each value on its own.

    Args:
        function: By name. ``round`` takes halves to the even neighbour (NumPy, IEEE 754; not C's ``round``), ``rsqrt``
            is 1 / sqrt(x), ``expm1`` is exp(x) - 1 and ``log1p`` log(1 + x), both accurate near 0.

    ``sign``, ``floor``, ``ceil`` and ``round`` have the gradient 0 everywhere, ``abs`` has sign(x), which is 0 at 0.
    Outside of a function's domain the value is NaN. Shapes: any -> the same.
    """

    function: Function

    example = Example((1, 4, 6, 6), function="abs")


@dataclass(frozen=True, kw_only=True)
class Affine(Layer, kind="scalar_affine"):
    """scale * x + shift with two fixed numbers; ``ChannelAffine`` is the trained one.

    Args:
        scale: The factor.
        shift: What is added to the product.

    Shapes: any -> the same.
    """

    scale: float = 1.0
    shift: float = 0.0

    example = Example((1, 4, 6, 6), scale=2.0, shift=-0.5)

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        square, mean = inputs[0]
        scaled = self.scale**2 * square + 2 * self.scale * self.shift * mean + self.shift**2
        return Signal(scaled, self.scale * mean + self.shift)


@dataclass(frozen=True, kw_only=True)
class Clip(Layer, kind="clip"):
    """min(max(x, minimum), maximum): values kept within limits. NaN stays.

    Args:
        minimum, maximum: The limits; None for none. Where the minimum lies above the maximum, the maximum wins.

    The gradient passes where minimum <= x <= maximum, the limits included (PyTorch's and TensorFlow's convention;
    ``jax.numpy.clip`` gives half of it there). Shapes: any -> the same.
    """

    minimum: float | None = None
    maximum: float | None = None

    example = Example((1, 4, 6, 6), minimum=-0.5, maximum=0.5)

    def resolve(self, inputs: Shapes) -> Self:
        if self.minimum is None and self.maximum is None:
            raise SpecError(
                "a clip needs a limit", received="neither", expected="minimum, maximum or both", remedy="leave it out"
            )
        return self


@dataclass(frozen=True, kw_only=True)
class Power(Layer, kind="scalar_power"):
    """x ** exponent with a fixed number; a negative x has a power for whole exponents only, and NaN for others.

    The gradient is exponent * x ** (exponent - 1), and 0 for the exponent 0.

    Args:
        exponent: The power.

    Shapes: any -> the same.
    """

    exponent: float

    example = Example((1, 4, 6, 6), exponent=2.0)

    @property
    def is_whole(self) -> bool:
        """Whether the exponent is an integer."""
        return math.floor(self.exponent) == self.exponent
