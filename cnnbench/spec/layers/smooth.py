"""Smooth activations: exponential units, Gaussian and sigmoid gates, softplus and its kin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from cnnbench.errors import FieldError
from cnnbench.spec.layers.arrays import Signal
from cnnbench.spec.layers.base import Layer, Shapes, require_one_of
from cnnbench.spec.layers.signals import bent


def _require_positive(value: float, field: str) -> None:
    if not value > 0:
        raise FieldError(field, received=value, expected="a positive number")


@dataclass(frozen=True, kw_only=True)
class ELU(Layer, kind="elu"):
    """x where x > 0, alpha (exp(x) - 1) elsewhere.

    Args:
        alpha: Minus the value that very negative inputs approach; a positive number.

    Shapes: any -> the same. Source: Clevert, Unterthiner, Hochreiter, "Exponential linear units" (2015), equation 15.
    """

    alpha: float = 1.0

    def resolve(self, inputs: Shapes) -> Self:
        _require_positive(self.alpha, "alpha")
        return self


@dataclass(frozen=True, kw_only=True)
class CELU(Layer, kind="celu"):
    """max(x, 0) + min(0, alpha (exp(x / alpha) - 1)): an ELU whose slope at 0 is 1 for every alpha.

    Args:
        alpha: Minus the value that very negative inputs approach; a positive number.

    Shapes: any -> the same. Source: Barron, "Continuously differentiable exponential linear units" (2017), equation 2.
    """

    alpha: float = 1.0

    def resolve(self, inputs: Shapes) -> Self:
        _require_positive(self.alpha, "alpha")
        return self


@dataclass(frozen=True, kw_only=True)
class SELU(Layer, kind="selu"):
    """scale x where x > 0, scale alpha (exp(x) - 1) elsewhere, with the constants for which (0, 1) is a fixed point.

    Shapes: any -> the same. Source: Klambauer et al., "Self-normalizing neural networks" (2017), equation 2 and
    section "Deriving the mean and variance mapping".
    """

    ALPHA: ClassVar[float] = 1.6732632423543772848170429916717
    SCALE: ClassVar[float] = 1.0507009873554804934193349852946


@dataclass(frozen=True, kw_only=True)
class GELU(Layer, kind="gelu"):
    """x Phi(x), Phi the distribution function of the standard normal.

    Args:
        form: ``"exact"`` (PyTorch's and tf.nn's default) or ``"tanh"``: 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715
            x^3))), the default of JAX and keras.ops, which differs by up to 4.8e-4. The third form in use,
            x sigmoid(1.702 x), is ``silu`` with ``beta`` 1.702.

    Shapes: any -> the same. Source: Hendrycks, Gimpel, "Gaussian error linear units" (2016), section 2.
    """

    form: Literal["exact", "tanh"] = "exact"

    def resolve(self, inputs: Shapes) -> Self:
        require_one_of(self.form, "form", ("exact", "tanh"))
        return self

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return bent(inputs[0], 0.43, 0.28)


@dataclass(frozen=True, kw_only=True)
class SiLU(Layer, kind="silu"):
    """x sigmoid(beta x); also called swish.

    Args:
        beta: Fixed. 1 in every framework's function; 1.702 approximates GELU.

    Shapes: any -> the same. Source: Elfwing, Uchibe, Doya (2017), equation 6; Ramachandran, Zoph, Le, "Searching for
    activation functions" (2017), section 4.
    """

    beta: float = 1.0

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return bent(inputs[0], 0.36, 0.21)


@dataclass(frozen=True, kw_only=True)
class Softplus(Layer, kind="softplus"):
    """log(1 + exp(beta x)) / beta, everywhere: no linear part.

    Args:
        beta: Positive. PyTorch's function gives x where beta x > 20, off by 2.1e-9 / beta there (the log of
            1 + exp(-20)): nothing in float32, 1e6 roundings in float64. The backend moves that threshold in float64.

    Shapes: any -> the same. Source: Dugas et al., "Incorporating second-order functional knowledge" (2000), section 3.
    """

    beta: float = 1.0

    def resolve(self, inputs: Shapes) -> Self:
        _require_positive(self.beta, "beta")
        return self


@dataclass(frozen=True, kw_only=True)
class Softsign(Layer, kind="softsign"):
    """x / (1 + |x|). Shapes: any -> the same. Source: Bergstra et al., "Quadratic polynomials" (2009), section 3.3."""


@dataclass(frozen=True, kw_only=True)
class Mish(Layer, kind="mish"):
    """x tanh(log(1 + exp(x))). Shapes: any -> the same. Source: Misra, "Mish" (2019), equation 1."""

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return bent(inputs[0], 0.46, 0.24)
