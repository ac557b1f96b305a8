"""Activations that are written as arithmetic: which one a value is as a function of another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cnnbench.spec.layers import GELU, HardSigmoid, HardSwish, Sigmoid, SiLU, Softplus
from cnnbench.spec.layers.smooth import Mish

_FAR = [sign * 10.0**power for power in (2, 3, 4) for sign in (-1, 1)]
_POINTS = np.concatenate([np.linspace(-9.0, 9.0, 145), np.linspace(-50.0, 50.0, 101), (-1e-3, 1e-3), _FAR])
_ERF = np.vectorize(math.erf)
_LEAST = 0.1  # below it a difference counts as at this size: 1 + erf(x) loses its digits where it is small
_DEPTH = 12


class WrittenValue(Protocol):
    """A value of a network, with the layer that makes it and what that reads."""

    @property
    def kind(self) -> str:
        """Of the layer; "" for an input."""

    @property
    def layer(self) -> Any:
        """The layer."""

    @property
    def inputs(self) -> Sequence[Any]:
        """What the layer reads."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the value."""


def _reciprocal(x: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(all="ignore"):
        return 1 / x


_SIGMOID = 1 / (1 + np.exp(-_POINTS.clip(-700, 700)))
_SOFTPLUS = np.logaddexp(_POINTS, 0.0)
_CUBIC = math.sqrt(2 / math.pi) * (_POINTS + 0.044715 * _POINTS**3)
_HARD = np.clip(_POINTS + 3, 0, 6) / 6
_SIGMOID_FORMS = ("exp reciprocal", "divide exp", "exp scalar_power")
# Each with the operations of its formulas: each once, besides products and factors and shifts by numbers.
_ACTIVATIONS: tuple[tuple[Any, NDArray[Any], tuple[str, ...]], ...] = (
    (GELU(), 0.5 * _POINTS * (1 + _ERF(_POINTS / math.sqrt(2))), ("erf",)),
    (
        GELU(form="tanh"),
        0.5 * _POINTS * (1 + np.tanh(_CUBIC)),
        ("add scalar_power tanh", "add square tanh", "square tanh", "add tanh", "tanh", "scalar_power tanh"),
    ),
    (SiLU(), _POINTS * _SIGMOID, ("sigmoid", *_SIGMOID_FORMS)),
    (Sigmoid(), _SIGMOID, _SIGMOID_FORMS),
    (Mish(), _POINTS * np.tanh(_SOFTPLUS), ("softplus tanh",)),
    (Softplus(), _SOFTPLUS, ("abs add exp log1p relu",)),
    (HardSwish(), _POINTS * _HARD, ("hard_sigmoid", "relu6", "clip", "clip relu")),
    (HardSigmoid(), _HARD, ("relu6", "clip", "clip relu")),
)
_STEPS: dict[str, Any] = {
    "scalar_affine": lambda layer, x: layer.scale * x + layer.shift,
    "scalar_power": lambda layer, x: x**layer.exponent,
    "tanh": lambda layer, x: layer.output_scale * np.tanh(layer.input_scale * x),
    "sigmoid": lambda layer, x: 1 / (1 + np.exp(-x)),
    "relu": lambda layer, x: np.maximum(x, 0),
    "relu6": lambda layer, x: np.clip(x, 0, 6),
    "clip": lambda layer, x: np.clip(x, layer.minimum, layer.maximum),
    "softplus": lambda layer, x: np.logaddexp(layer.beta * x, 0) / layer.beta,
    "hard_sigmoid": lambda layer, x: np.clip(layer.slope * x + layer.offset, 0, 1),
    "multiply": lambda layer, x, y: x * y,
    "divide": lambda layer, x, y: x / y,
    "add": lambda layer, x, y: x + y,
}
_FUNCTIONS: dict[str, Any] = {
    **{name: getattr(np, name) for name in ("abs", "square", "sqrt", "exp", "expm1", "log1p")},
    "erf": _ERF,
    "negate": np.negative,
    "reciprocal": _reciprocal,
}
_MADE_BY = ("multiply", "divide", "add", "scalar_affine", "clip", "relu6", "scalar_power")


def known_activation(made: Any, tolerance: float) -> tuple[Any, Any] | None:
    """The activation that a value is, and the value that it is one of; None where it is none that is known.

    It is made by an activation's operations and gives what that gives at every point that is tried.

    Args:
        made: A ``WrittenValue``.
        tolerance: How far it may be from the activation, relative to its value there.
    """
    if made.kind not in _MADE_BY and not (made.kind == "elementwise" and made.layer.function == "reciprocal"):
        return None
    source = made
    for _ in range(_DEPTH):
        if source.kind not in _STEPS and source.kind != "elementwise":
            break
        source = min(source.inputs, key=_depth)
        values = _values(made, source)
        if values is None:
            continue
        used = " ".join(sorted(_operations(made, source).values()))
        for layer, known, formulas in _ACTIVATIONS:
            if used in formulas and _close(values, known, tolerance):
                return layer, source
    return None


def _close(values: NDArray[Any], known: NDArray[Any], tolerance: float) -> bool:
    return bool((np.abs(values - known) <= tolerance * np.maximum(np.abs(known), _LEAST)).all())


def _depth(x: Any) -> int:
    """How many element-wise operations made a value, along its first operands."""
    depth = 0
    while depth < _DEPTH and (x.kind in _STEPS or x.kind == "elementwise"):
        x, depth = x.inputs[0], depth + 1
    return depth


def _operations(x: Any, source: Any) -> dict[int, str]:
    """The operations between two values besides products and factors and shifts by numbers, by the values they make."""
    found: dict[int, str] = {}
    if x is not source:
        name = str(x.layer.function) if x.kind == "elementwise" else x.kind
        if name not in ("multiply", "scalar_affine", "negate"):
            found[id(x)] = name
        for item in x.inputs:
            found |= _operations(item, source)
    return found


def _values(x: Any, source: Any, left: int = 16) -> NDArray[Any] | None:
    """A value at the points as a function of another, None where it depends on more."""
    if x is source:
        return _POINTS
    step = _FUNCTIONS.get(x.layer.function) if x.kind == "elementwise" else _STEPS.get(x.kind)
    if step is None or not left or len({item.shape for item in x.inputs}) != 1:
        return None
    operands = [_values(item, source, left - 1) for item in x.inputs]
    if any(item is None for item in operands):
        return None
    with np.errstate(all="ignore"):
        return np.asarray(step(*operands) if x.kind == "elementwise" else step(x.layer, *operands))
