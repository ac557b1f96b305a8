"""Keras' activations in layers of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.keras_builder import Construction, NotTranslatedError
from cnnbench.spec.layers import (
    ELU,
    GELU,
    SELU,
    HardSigmoid,
    HardSwish,
    Layer,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from cnnbench.spec.layers.arithmetic import Clip, Elementwise
from cnnbench.spec.layers.rectifier import ThresholdedReLU
from cnnbench.spec.layers.smooth import CELU, Mish, Softsign


def activated(making: Construction, config: Mapping[str, Any], value: Value) -> Value:
    """The value behind the activation that a layer has of its own.

    Args:
        making: The network so far.
        config: Of the layer.
        value: What the layer makes.
    """
    for made in activation_layers("Activation", config, making.version, len(value.shape)):
        value = making.plain(made, value)
    return value


def activation_layers(cls: str, config: Mapping[str, Any], version: str, rank: int) -> list[Layer]:
    """The layers of an activation, none for the identity.

    Args:
        cls: ``Activation``, or an activation that is a layer.
        config: The layer's configuration.
        version: Of Keras, whose ``hard_sigmoid`` changed with 3.
        rank: Of the value.

    Raises:
        NotTranslatedError: The activation is not known.
    """
    if cls == "Activation":
        name, config = _named(config.get("activation"))
        if not config and name not in _OWN_LAYERS:
            return _function(name, version, rank)
        cls = _OWN_LAYERS.get(name, name)
    if cls == "ReLU":
        return _relu(config)
    if cls == "LeakyReLU":
        return [LeakyReLU(negative_slope=float(config.get("negative_slope", config.get("alpha", 0.3))))]
    if cls == "ELU":
        return [ELU(alpha=float(config.get("alpha", 1.0)))]
    if cls == "ThresholdedReLU":
        return [ThresholdedReLU(alpha=float(config["theta"]))]
    if cls == "Softmax" and isinstance(config.get("axis", -1), int):
        return [Softmax(axis=config.get("axis", -1))]
    raise NotTranslatedError(f"activation {cls} is not known here")


_OWN_LAYERS = {name: name for name in ("ReLU", "LeakyReLU", "ELU", "Softmax", "ThresholdedReLU")}


def _named(given: Any) -> tuple[str, Mapping[str, Any]]:
    """(name, configuration) of an activation: a name, a serialised function or a serialised layer."""
    if given is None:
        return "linear", {}
    if isinstance(given, str):
        return given, {}
    inner = given.get("config")
    if isinstance(inner, str):
        return inner, {}
    if given["class_name"] == "Activation":
        return _named(inner.get("activation"))
    return str(given["class_name"]), inner or {}


def _relu(config: Mapping[str, Any]) -> list[Layer]:
    slope, most, least = (config.get(key) or 0.0 for key in ("negative_slope", "max_value", "threshold"))
    if least == 0 and slope == 0:
        if config.get("max_value") is None:
            return [ReLU()]
        return [Clip(minimum=0.0, maximum=float(most))]
    if least == 0 and config.get("max_value") is None:
        return [LeakyReLU(negative_slope=float(slope))]
    raise NotTranslatedError("a ReLU with a threshold, or a slope and a maximum, is not known here")


def _function(name: str, version: str, rank: int) -> list[Layer]:
    early = version.startswith(("1.", "2."))
    if name == "linear":
        return []
    if name in ("softmax", "log_softmax"):
        return [Softmax(axis=-1) if name == "softmax" else LogSoftmax(axis=-1)]
    made: dict[str, Layer] = {
        "relu": ReLU(),
        "relu6": ReLU6(),
        "sigmoid": Sigmoid(),
        "tanh": Tanh(),
        "leaky_relu": LeakyReLU(negative_slope=0.2),
        "elu": ELU(),
        "selu": SELU(),
        "celu": CELU(),
        "gelu": GELU(),
        "silu": SiLU(),
        "swish": SiLU(),
        "softplus": Softplus(),
        "softsign": Softsign(),
        "mish": Mish(),
        "hard_sigmoid": HardSigmoid(slope=0.2 if early else 1 / 6),
        "hard_silu": HardSwish(),
        "hard_swish": HardSwish(),
        "hard_tanh": Clip(minimum=-1.0, maximum=1.0),
        "exponential": Elementwise(function="exp"),
    }
    if name not in made:
        raise NotTranslatedError(f"activation {name} is not known here")
    return [made[name]]
