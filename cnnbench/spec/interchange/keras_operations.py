"""Operations of ``keras.ops`` in a functional model, which Keras keeps as layers, in layers of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.keras_builder import Construction, NotTranslatedError, Translation
from cnnbench.spec.interchange.keras_config import KerasLayer
from cnnbench.spec.layers import (
    ELU,
    GELU,
    HardSigmoid,
    HardSwish,
    Layer,
    LeakyReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from cnnbench.spec.layers.arithmetic import Affine, Clip, Elementwise, Power
from cnnbench.spec.layers.merge import Divide, PowerOf
from cnnbench.spec.layers.reduction import Reduce
from cnnbench.spec.layers.shape import Reshape, Transpose

_FUNCTIONS = {
    **{name.capitalize(): name for name in ("erf", "exp", "expm1", "log", "log1p", "square", "sqrt", "rsqrt", "sign")},
    "Negative": "negate",
    "Absolute": "abs",
    "Abs": "abs",
    "Reciprocal": "reciprocal",
}
_EACH: Mapping[str, Callable[[Mapping[str, Any]], Layer]] = {
    "Sigmoid": lambda config: Sigmoid(),
    "Tanh": lambda config: Tanh(),
    "Relu": lambda config: ReLU(),
    "Relu6": lambda config: ReLU6(),
    "Silu": lambda config: SiLU(),
    "Softplus": lambda config: Softplus(),
    "HardSigmoid": lambda config: HardSigmoid(),
    "HardSilu": lambda config: HardSwish(),
    "Gelu": lambda config: GELU(form="tanh" if config.get("approximate", True) else "exact"),
    "Elu": lambda config: ELU(alpha=float(config.get("alpha", 1.0))),
    "LeakyRelu": lambda config: LeakyReLU(negative_slope=float(config.get("negative_slope", 0.2))),
}


def _each(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    made = _EACH.get(layer.cls)
    if made is not None:
        return [making.plain(made(layer.config), values[0])]
    return [making.plain(Elementwise(function=_FUNCTIONS[layer.cls]), values[0])]  # type: ignore[arg-type]


def _clip(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    low, high = (layer.config.get(name) for name in ("x_min", "x_max"))
    if any(isinstance(item, bool) or not isinstance(item, int | float) for item in (low, high)):
        raise NotTranslatedError(f"{layer.name} (Clip): limits {low} and {high}, which are not two numbers")
    return [making.plain(Clip(minimum=float(low), maximum=float(high)), values[0])]  # type: ignore[arg-type]


def _quotient_or_power(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    """Of two values, or of a value and a number."""
    divides = "Divide" in layer.cls
    if "operands" not in layer.config:
        return [making.plain(Divide() if divides else PowerOf(), *values)]
    calls = layer.config["operands"]
    if len(calls) != 1 or len(layer.calls) != 1 or len(calls[0]) != 2 or (calls[0][0] is not None and not divides):
        raise NotTranslatedError(f"{layer.name} ({layer.cls}): its operands {calls} are not known here")
    first, second = calls[0]
    if first is None:
        made = Affine(scale=1 / float(second)) if divides else Power(exponent=float(second))
        return [making.plain(made, values[0])]
    value = making.plain(Elementwise(function="reciprocal"), values[0])
    return [value if first == 1 else making.plain(Affine(scale=float(first)), value)]


def reshaped(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    """``keras.ops.reshape`` and ``transpose``, which name the axis of the images too.

    Args:
        making: The network so far.
        layer: The operation.
        values: What it reads.

    Raises:
        NotTranslatedError: They move that axis.
    """
    target = list(layer.config.get("newshape" if layer.cls == "Reshape" else "axes") or ())
    if layer.cls == "Transpose" and target[:1] == [0]:
        return [making.plain(Transpose(permutation=tuple(target)), values[0])]
    whole = [size for size in target[1:] if size not in (-1, None)]
    if layer.cls == "Reshape" and target[:1] in ([-1], [None]) and len(whole) == len(target) - 1:
        return [making.plain(Reshape(shape=tuple(whole)), values[0])]
    raise NotTranslatedError(f"{layer.name} ({layer.cls}): to {target}, which does not keep the first axis as it is")


def _reduced(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    (value,), given = values, layer.config.get("axis")
    rank = len(value.shape)
    axes = sorted(axis % rank for axis in (given if isinstance(given, list) else [given] if given is not None else []))
    if not axes or 0 in axes:
        raise NotTranslatedError(f"{layer.name} ({layer.cls}): over the images, by axis {given}")
    kept = making.plain(Reduce(function=layer.cls.lower(), axes=tuple(axes)), value)  # type: ignore[arg-type]
    if layer.config.get("keepdims"):
        return [kept]
    return [making.plain(Reshape(shape=tuple(n for i, n in enumerate(kept.shape) if i and i not in axes)), kept)]


OPERATIONS: Mapping[str, Translation] = {
    "|".join((*_EACH, *_FUNCTIONS)): _each,
    "Clip": _clip,
    "Divide|TrueDivide|Power": _quotient_or_power,
    "Transpose": reshaped,
    "Mean|Sum": _reduced,
}
