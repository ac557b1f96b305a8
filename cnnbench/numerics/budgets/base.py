"""What a budget is, which formula belongs to which kind, and the pieces that formulas share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.numerics.budgets.limits import leaves_limits
from cnnbench.numerics.budgets.shared import Shared
from cnnbench.numerics.reference import LayerCall, LayerGradients, LayerValues, Reference
from cnnbench.numerics.rounding import Roundoff, gamma, sharp_factor
from cnnbench.spec.composites import Composite
from cnnbench.spec.kinds import layer_kinds

Array = NDArray[Any]
DERIVED = "derived"
MEASURED = "measured sensitivity"
FALLBACK = ""  # registered as a kind's name, it makes a formula that of every kind without one
NARROW_TERMS = 16  # a sum of 9 taps or 16 windows may be held in bfloat16; one over a batch's positions may not
SPARE = 3  # element-wise steps are admitted a few units in the last place, not only correct rounding


class Budget(NamedTuple):
    """Largest admitted |error| per element, broadcastable to the array that it belongs to."""

    sharp: Array
    worst: Array


class ForwardBudget(NamedTuple):
    """Budgets of a layer's outputs and running statistics, and what the first output's elements err by in common."""

    outputs: tuple[Budget, ...]
    state: tuple[Budget, ...] = ()
    shared: tuple[Shared, ...] = ()


class GradientBudget(NamedTuple):
    """Budgets of a layer's gradients, None for integers and fixed weights; the first input's shared errors."""

    inputs: tuple[Budget | None, ...]
    weights: tuple[Budget | None, ...] = ()
    shared: tuple[Shared, ...] = ()


@dataclass(frozen=True)
class Setting:
    """All that a forward budget may depend on: the call on storage-rounded operands, and its exact values."""

    call: LayerCall
    values: LayerValues
    policy: PrecisionPolicy
    reference: Reference

    @property
    def u(self) -> Roundoff:
        """The policy's roundoffs."""
        return Roundoff.of(self.policy)

    @property
    def layer(self) -> Any:
        """The layer, of the kind that the formula is registered for."""
        return self.call.layer

    def magnitudes(self) -> tuple[Array, ...]:
        """The layer's outputs on the absolute values of inputs and weights: S = sum |x||w| of a sum of products."""
        return self.reference.forward(absolute(self.call)).outputs


@dataclass(frozen=True)
class GradientSetting(Setting):
    """As ``Setting``, with the cotangents of the outputs and the exact gradients."""

    cotangents: tuple[Array, ...]
    gradients: LayerGradients

    @property
    def u(self) -> Roundoff:
        """The policy's roundoffs, sums assumed to be held in the storage type.

        Frameworks scatter and sum the gradients of narrow types there, whatever a forward pass does: a policy admits
        it, so the budget does, up to ``NARROW_TERMS`` of them. For float32 and float64 nothing changes.
        """
        forward = Roundoff.of(self.policy)
        if forward.accumulated >= forward.stored:
            return forward
        return replace(forward, accumulated=forward.stored, narrow_terms=NARROW_TERMS)

    def gradient_magnitudes(self, call: LayerCall | None = None) -> LayerGradients:
        """The gradients on absolute values of inputs (or those of ``call``), weights and cotangents."""
        return self.reference.gradient(call or absolute(self.call), tuple(np.abs(g) for g in self.cotangents))


def absolute(call: LayerCall) -> LayerCall:
    """The call on absolute values of inputs and weights."""
    return replace(call, inputs=tuple(map(np.abs, call.inputs)), weights=tuple(map(np.abs, call.weights)))


ForwardFormula = Callable[[Setting], ForwardBudget]
GradientFormula = Callable[[GradientSetting], GradientBudget]
_FORWARD: dict[str, ForwardFormula] = {}
_GRADIENT: dict[str, GradientFormula] = {}
_F = TypeVar("_F", bound=ForwardFormula)
_G = TypeVar("_G", bound=GradientFormula)
_T = TypeVar("_T")


def forward_formula(*kinds: str) -> Callable[[_F], _F]:
    """A decorator that makes a function the forward budget of these kinds, or of ``FALLBACK``."""
    return entered(_FORWARD, kinds)


def gradient_formula(*kinds: str) -> Callable[[_G], _G]:
    """A decorator that makes a function the gradient budget of these kinds, or of ``FALLBACK``."""
    return entered(_GRADIENT, kinds)


def entered(table: dict[str, Any], kinds: tuple[str, ...]) -> Callable[[_T], _T]:
    """A decorator that enters a function in a table under these kinds."""

    def decorate(function: _T) -> _T:
        table.update(dict.fromkeys(kinds, function))
        return function

    return decorate


ExactRule = Callable[[Any, tuple[tuple[int, ...], ...]], bool]
_EXACT: dict[str, ExactRule] = {}


def exact_on_integers(*kinds: str, when: ExactRule = lambda layer, inputs: True) -> None:
    """Says that small-integer operands give exact results for these kinds, where ``when(layer, input shapes)``."""
    _EXACT.update(dict.fromkeys(kinds, when))


def exact_rule(kind: str) -> ExactRule | None:
    """What ``exact_on_integers`` said of a kind."""
    load_family(kind)
    return _EXACT.get(kind)


@cache
def load_family(kind: str) -> None:
    """Imports the module of the kind's family, which registers its formulas; a family without one has none."""
    layer = layer_kinds().get(kind)
    name = f"cnnbench.numerics.budgets.{layer.family}" if layer else ""
    if layer is not None and layer.family not in ("", "base", "sensitivity") and find_spec(name) is not None:
        import_module(name)


def budget_form(kind: str, *, whole: bool = False) -> str:
    """``derived`` where both formulas are written, ``of its parts`` for a composite, else ``measured sensitivity``.

    A composite that is examined as one node (``whole``) has no parts to take it from.
    """
    load_family(kind)
    layer = layer_kinds().get(kind)
    if layer is not None and issubclass(layer, Composite) and not whole:
        return "of its parts"
    return DERIVED if kind in _FORWARD and kind in _GRADIENT else MEASURED


def formulas(kind: str) -> tuple[ForwardFormula | None, GradientFormula | None]:
    """The formulas of a kind's forward and gradient budget, None where the sensitivity is measured."""
    load_family(kind)
    return _FORWARD.get(kind), _GRADIENT.get(kind)


def registered() -> dict[str, object]:
    """Every formula and rule so far, by what it is for."""
    tables: dict[str, Mapping[str, object]] = {"forward": _FORWARD, "gradient": _GRADIENT, "exact": _EXACT}
    return {f"{role} {kind}": item for role, table in tables.items() for kind, item in table.items()}


def forward_budget(setting: Setting) -> ForwardBudget:
    """The budget of a forward pass, by the kind's formula or else by the fallback."""
    load_family(setting.layer.kind)
    if leaves_limits(setting.call, setting.values.outputs, setting.policy):
        return ForwardBudget((UNBOUNDED,) * len(setting.values.outputs), (UNBOUNDED,) * len(setting.values.state))
    return (_FORWARD.get(setting.layer.kind) or _FORWARD[FALLBACK])(setting)


def gradient_budget(setting: GradientSetting) -> GradientBudget:
    """The budget of a gradient pass, by the kind's formula or else by the fallback."""
    load_family(setting.layer.kind)
    found = setting.gradients
    values = [value for value in (*found.inputs, *found.weights) if value is not None]
    if leaves_limits(setting.call, [*setting.values.outputs, *values], setting.policy, of_gradient=True):
        inputs, weights = (tuple(None if g is None else UNBOUNDED for g in part) for part in found)
        return GradientBudget(inputs, weights)
    return (_GRADIENT.get(setting.layer.kind) or _GRADIENT[FALLBACK])(setting)


UNBOUNDED = Budget(np.asarray(np.inf), np.asarray(np.inf))
_BEYOND = 2.0**256  # the square of its product with any float32 or bfloat16 is finite
"""Any value is admitted."""


def exact(u: Roundoff) -> Budget:
    """The budget of moved values: nothing but what a flushed denormal loses."""
    return Budget(np.asarray(u.smallest), np.asarray(u.smallest))


def sum_of_products(magnitude: Array, count: float, u: Roundoff, *, rounded: Array, squares: Array | None) -> Budget:
    """The budget of a sum of ``count`` products (or terms).

    Args:
        magnitude: S = sum |x||w|.
        count: K.
        u: The policy's roundoffs.
        rounded: Sum of the magnitudes that are rounded to storage: |y|, and |y - b| where a bias is added after.
        squares: sum x^2 w^2, where operands are rounded before they are multiplied; None where they are not.

    Worst: gamma(K, u_acc) S + u_out ``rounded`` + p S, p the relative error of a product by its operands' rounding.
    Sharp: 2 sqrt(K) u_acc S (K at most ``narrow_terms`` where the accumulator is narrow) + u_out ``rounded`` +
    6 p sqrt(``squares``) (Hoeffding: exceeded once in 3e7).
    """
    floor = (count + 1) * u.smallest
    most = min(count, u.narrow_terms)
    factor = gamma(count, u.accumulated)
    # so many narrow terms have no worst case; a sum of zeros is zero all the same
    bound = factor * magnitude if math.isfinite(factor) else np.where(np.asarray(magnitude) > 0, math.inf, 0.0)
    worst = bound + u.stored * rounded + floor
    sharp = sharp_factor(most, u.accumulated) * magnitude + u.stored * rounded + floor
    if squares is not None:
        worst = worst + u.operand * magnitude
        sharp = sharp + np.minimum(6 * u.operand * np.sqrt(squares), u.operand * magnitude)
    return Budget(sharp, worst)


def roundings(magnitude: Array, count: float, u: Roundoff) -> Budget:
    """The budget of some roundings to storage.

    Args:
        magnitude: What each is relative to.
        count: Their number, to which ``SPARE`` are added.
        u: The policy's roundoffs.
    """
    total = count + SPARE
    floor = (total + 1) * u.smallest
    return Budget(sharp_factor(total, u.stored) * magnitude + floor, gamma(total, u.stored) * magnitude + floor)


def both(sharp: Callable[[Callable[[float, float], float]], Array]) -> Budget:
    """A budget from one formula written in terms of c(n, u): evaluated with the sharp factor and with gamma.

    Where n u >= 1 there is no worst case. In place of infinity there is then a number beyond any error, since formulas
    multiply c by what may be 0, and what is relative to 0 is 0 all the same.
    """
    return Budget(sharp(sharp_factor), sharp(lambda count, roundoff: min(gamma(count, roundoff), _BEYOND)))
