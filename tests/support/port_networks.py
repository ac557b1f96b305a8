"""Networks of which mistakes are made, and how two of them get the same weights."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from torch import nn

L = keras.layers
IMAGE = (3, 8, 8)


@dataclass(frozen=True)
class Mistake:
    """One kind of mistake.

    Args:
        name: What it is called.
        module: Makes the reference.
        model: (wrong) -> the candidate, weights aside.
        node: Where ``port`` has to see it, and ``field``: what it has to name there.
        weights: Changes the candidate's weights where the mistake lies in them.
        shape: Of the input, with channels first.
        training: Whether it shows in training only.
        right: Changes the candidate's weights where a right port has to.
        wrong_module: The reference of the wrong port, where Keras has no layer for it.
    """

    name: str
    module: Callable[[], nn.Module]
    model: Callable[[bool], Any]
    node: str
    field: str
    weights: Callable[[Any], None] | None = None
    shape: tuple[int, ...] = IMAGE
    training: bool = False
    right: Callable[[Any], None] | None = None
    wrong_module: Callable[[], nn.Module] | None = None


class Path(nn.Module):
    """Layers by name, and what is done with them."""

    def __init__(self, forward: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.path = forward

    def forward(self, x: Any) -> Any:
        return self.path(self, x)


def chain(**parts: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(OrderedDict(parts))


def stack(*parts: Any, shape: tuple[int, ...] = (8, 8, 3)) -> Any:
    return keras.Sequential([keras.Input(shape), *(part for part in parts if part is not None)])


def same_weights(module: nn.Module, model: Any) -> None:
    """Gives each layer of the model the arrays of the module's part of its name, in Keras' layouts."""
    parts = dict(module.named_modules())
    for layer in model.layers:
        part = parts.get(layer.name)
        if part is not None and layer.weights:
            layer.set_weights([np.asarray(item) for item in _converted(part, layer)])


def _converted(part: Any, layer: Any) -> list[Any]:
    arrays = {name: tensor.detach().numpy() for name, tensor in (*part.named_parameters(), *part.named_buffers())}
    if isinstance(part, nn.BatchNorm2d):
        return [arrays[name] for name in ("weight", "bias", "running_mean", "running_var")]
    if isinstance(part, nn.LSTM | nn.GRU):
        return _recurrent(part, arrays)
    if isinstance(part, nn.ConvTranspose2d):
        found = [arrays["weight"].transpose(2, 3, 1, 0)]
    elif isinstance(layer, L.DepthwiseConv2D):
        weight = arrays["weight"]
        multiplier = weight.shape[0] // part.in_channels
        found = [weight.reshape(part.in_channels, multiplier, *weight.shape[2:]).transpose(2, 3, 0, 1)]
    elif isinstance(part, nn.Conv2d):
        found = [arrays["weight"].transpose(2, 3, 1, 0)]
    elif isinstance(part, nn.Linear):
        found = [arrays["weight"].T]
    else:
        found = [arrays["weight"]]
    return found + ([arrays["bias"]] if "bias" in arrays and len(layer.weights) > 1 else [])


def _recurrent(part: Any, arrays: dict[str, Any]) -> list[Any]:
    order = [1, 0, 2] if isinstance(part, nn.GRU) else [0, 1, 2, 3]  # Keras has z, r, n

    def gates(array: Any) -> Any:
        return np.concatenate([np.split(array, len(order))[i] for i in order])

    weights = [gates(arrays[name]).T for name in ("weight_ih_l0", "weight_hh_l0")]
    one, two = gates(arrays["bias_ih_l0"]), gates(arrays["bias_hh_l0"])
    return [*weights, np.stack([one, two]) if isinstance(part, nn.GRU) else one + two]


def changed(name: str, change: Callable[[list[Any]], list[Any]]) -> Callable[[Any], None]:
    def apply(model: Any) -> None:
        layer = model.get_layer(name)
        layer.set_weights(change([np.array(item) for item in layer.get_weights()]))

    return apply


def first(change: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    return lambda arrays: [np.ascontiguousarray(change(arrays[0])), *arrays[1:]]


def conv(filters: int = 4, size: Any = 3, name: str = "conv", **more: Any) -> Any:
    return L.Conv2D(filters, size, name=name, **more)


def rows_of_channels(array: Any) -> Any:
    """Rows of a flattening with channels last (2, 2, 4), from those with channels first."""
    return np.moveaxis(array.reshape(4, 2, 2, -1), 0, 2).reshape(array.shape)


def flattened(wrong: bool) -> Any:
    return stack(conv(strides=2), L.MaxPooling2D(2, 1, name="pool"), L.Flatten(), L.Dense(5, name="fc"))


def block(wrong: bool) -> Any:
    image = keras.Input((8, 8, 3))
    x = conv(padding="same", name="one")(image)
    y = L.ReLU(name="act")(x)
    y = conv(padding="same", name="two")(y)
    return keras.Model(image, L.Add(name="sum")([y, L.ReLU(name="other")(x) if wrong else x]))


def joined(wrong: bool) -> Any:
    image = keras.Input((8, 8, 3))
    parts = [conv(name="one")(image), L.ReLU(name="act")(conv(name="two")(image))]
    return keras.Model(image, L.Concatenate(name="cat")(parts[::-1] if wrong else parts))


def bottleneck(wrong: bool) -> Any:
    strides = (2, 1) if wrong else (1, 2)
    one = conv(4, 1, "one", strides=strides[0])
    pad = L.ZeroPadding2D(1)
    return stack(one, L.ReLU(), pad, conv(4, 3, "two", strides=strides[1]))


def token_norm(wrong: bool) -> Any:
    return stack(conv(), L.LayerNormalization(epsilon=1e-5, axis=[1, 2, 3] if wrong else -1, name="norm"))


def norm_over_channels(module: Any, x: Any) -> Any:
    return module.norm(module.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
