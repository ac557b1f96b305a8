"""Mistakes of ports from PyTorch to Keras: of each a module, and a model that is right or wrong."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import torch
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


MISTAKES = (
    Mistake(
        "same_padding_with_stride",
        chain(conv=nn.Conv2d(3, 4, 3, 2, 1)),
        lambda w: stack(conv(strides=2, padding="same")) if w else stack(L.ZeroPadding2D(1), conv(strides=2)),
        "conv",
        "padding",
    ),
    Mistake(
        "padding_on_the_wrong_sides",
        chain(pad=nn.ZeroPad2d((0, 1, 0, 1)), conv=nn.Conv2d(3, 4, 3, 2)),
        lambda w: stack(L.ZeroPadding2D(((1, 0), (1, 0)) if w else ((0, 1), (0, 1))), conv(strides=2)),
        "conv",
        "padding",
    ),
    Mistake(
        "no_padding",
        chain(conv=nn.Conv2d(3, 4, 3, 1, 1)),
        lambda w: stack(conv(padding="valid" if w else "same")),
        "conv",
        "padding",
    ),
    Mistake(
        "reflected_border",
        chain(conv=nn.Conv2d(3, 4, 3, 1, 1)),
        lambda w: stack(conv(padding="same")),
        "conv.pad",
        "",
        wrong_module=chain(conv=nn.Conv2d(3, 4, 3, 1, 1, padding_mode="reflect")),
    ),
    Mistake(
        "dilation_left_out",
        chain(conv=nn.Conv2d(3, 4, 3, dilation=2)),
        lambda w: stack(conv(dilation_rate=1 if w else 2)),
        "conv",
        "dilation",
    ),
    Mistake(
        "stride_in_the_first_convolution",
        chain(one=nn.Conv2d(3, 4, 1), act=nn.ReLU(), two=nn.Conv2d(4, 4, 3, 2, 1)),
        bottleneck,
        "one",
        "stride",
    ),
    Mistake("bias_left_out", chain(conv=nn.Conv2d(3, 4, 3)), lambda w: stack(conv(use_bias=not w)), "conv", "bias"),
    Mistake(
        "kernel_flipped",
        chain(conv=nn.Conv2d(3, 4, 3)),
        lambda w: stack(conv()),
        "conv",
        "weight",
        changed("conv", first(lambda k: k[::-1, ::-1])),
    ),
    Mistake(
        "kernel_axes_exchanged",
        chain(conv=nn.Conv2d(3, 4, 3)),
        lambda w: stack(conv()),
        "conv",
        "weight",
        changed("conv", first(lambda k: k.transpose(1, 0, 2, 3))),
    ),
    Mistake(
        "channels_in_and_out_exchanged",
        chain(conv=nn.Conv2d(3, 3, 3)),
        lambda w: stack(conv(3)),
        "conv",
        "weight",
        changed("conv", first(lambda k: k.transpose(0, 1, 3, 2))),
    ),
    Mistake(
        "blue_first",
        chain(conv=nn.Conv2d(3, 4, 3)),
        lambda w: stack(conv()),
        "conv",
        "weight",
        changed("conv", first(lambda k: k[:, :, ::-1])),
    ),
    Mistake(
        "transposed_kernel_flipped",
        chain(up=nn.ConvTranspose2d(3, 4, 3)),
        lambda w: stack(L.Conv2DTranspose(4, 3, name="up")),
        "up",
        "weight",
        changed("up", first(lambda k: k[::-1, ::-1])),
    ),
    Mistake(
        "depthwise_order_of_outputs",
        chain(conv=nn.Conv2d(3, 6, 3, groups=3)),
        lambda w: stack(L.DepthwiseConv2D(3, depth_multiplier=2, name="conv")),
        "conv",
        "weight",
        changed("conv", first(lambda k: k.reshape(3, 3, 2, 3).transpose(0, 1, 3, 2))),
    ),
    Mistake(
        "groups_left_out",
        chain(conv=nn.Conv2d(4, 4, 3, groups=2)),
        lambda w: stack(conv(groups=1 if w else 2), shape=(8, 8, 4)),
        "conv",
        "groups",
        shape=(4, 8, 8),
    ),
    Mistake(
        "batch_norm_epsilon",
        chain(conv=nn.Conv2d(3, 4, 3), bn=nn.BatchNorm2d(4)),
        lambda w: stack(conv(), L.BatchNormalization(epsilon=1e-3 if w else 1e-5, name="bn")),
        "bn",
        "eps",
    ),
    Mistake(
        "batch_norm_momentum",
        chain(bn=nn.BatchNorm2d(3, momentum=0.1)),
        lambda w: stack(L.BatchNormalization(epsilon=1e-5, momentum=0.1 if w else 0.9, name="bn")),
        "bn",
        "momentum",
        training=True,
    ),
    Mistake(
        "statistics_not_loaded",
        chain(bn=nn.BatchNorm2d(3)),
        lambda w: stack(L.BatchNormalization(epsilon=1e-5, name="bn")),
        "bn",
        "running_mean",
        changed("bn", lambda a: [a[0], a[1], a[2] * 0, a[3] * 0 + 1]),
    ),
    Mistake(
        "variance_not_loaded",
        chain(bn=nn.BatchNorm2d(3)),
        lambda w: stack(L.BatchNormalization(epsilon=1e-5, name="bn")),
        "bn",
        "running_var",
        changed("bn", lambda a: [*a[:3], a[3] * 0 + 1]),
    ),
    Mistake(
        "mean_and_variance_exchanged",
        chain(bn=nn.BatchNorm2d(3)),
        lambda w: stack(L.BatchNormalization(epsilon=1e-5, name="bn")),
        "bn",
        "running_var",
        changed("bn", lambda a: [a[0], a[1], a[3], abs(a[2])]),
    ),
    Mistake(
        "batch_norm_left_out",
        chain(conv=nn.Conv2d(3, 4, 3), bn=nn.BatchNorm2d(4), act=nn.ReLU()),
        lambda w: stack(conv(), None if w else L.BatchNormalization(epsilon=1e-5, name="bn"), L.ReLU()),
        "bn",
        "",
    ),
    Mistake(
        "flattened_with_channels_last",
        chain(conv=nn.Conv2d(3, 4, 3, 2), pool=nn.MaxPool2d(2, 1), flat=nn.Flatten(), fc=nn.Linear(16, 5)),
        flattened,
        "fc",
        "weight",
        right=changed("fc", first(rows_of_channels)),
    ),
    Mistake(
        "matrix_not_transposed",
        chain(fc=nn.Linear(4, 4)),
        lambda w: stack(L.Dense(4, name="fc"), shape=(4,)),
        "fc",
        "weight",
        changed("fc", first(lambda k: k.T)),
        (4,),
    ),
    Mistake(
        "matrix_scaled",
        chain(fc=nn.Linear(4, 3)),
        lambda w: stack(L.Dense(3, name="fc"), shape=(4,)),
        "fc",
        "weight",
        changed("fc", first(lambda k: k * 0.5)),
        (4,),
    ),
    Mistake(
        "matrix_not_loaded",
        chain(fc=nn.Linear(4, 3)),
        lambda w: stack(L.Dense(3, name="fc"), shape=(4,)),
        "fc",
        "weight",
        changed("fc", first(lambda k: np.ones_like(k) * 0.1)),
        (4,),
    ),
    Mistake(
        "gelu_form",
        chain(fc=nn.Linear(4, 3), act=nn.GELU()),
        lambda w: stack(L.Dense(3, name="fc"), L.Activation("gelu"), shape=(4,)),
        "act",
        "form",
        shape=(4,),
        wrong_module=chain(fc=nn.Linear(4, 3), act=nn.GELU("tanh")),
    ),
    Mistake(
        "relu6_as_relu",
        chain(conv=nn.Conv2d(3, 4, 3), act=nn.ReLU6()),
        lambda w: stack(conv(), L.ReLU() if w else L.ReLU(6.0)),
        "act",
        "kind",
    ),
    Mistake(
        "leaky_slope",
        chain(conv=nn.Conv2d(3, 4, 3), act=nn.LeakyReLU(0.01)),
        lambda w: stack(conv(), L.LeakyReLU(negative_slope=0.3 if w else 0.01)),
        "act",
        "negative_slope",
    ),
    Mistake(
        "elu_alpha",
        chain(conv=nn.Conv2d(3, 4, 3), act=nn.ELU(0.5)),
        lambda w: stack(conv(), L.ELU(1.0 if w else 0.5)),
        "act",
        "alpha",
    ),
    Mistake(
        "sigmoid_for_hard_sigmoid",
        chain(conv=nn.Conv2d(3, 4, 3), act=nn.Hardsigmoid()),
        lambda w: stack(conv(), L.Activation("sigmoid" if w else "hard_sigmoid")),
        "act",
        "kind",
    ),
    Mistake(
        "activation_left_out",
        chain(one=nn.Conv2d(3, 4, 3), act=nn.ReLU(), two=nn.Conv2d(4, 4, 3)),
        lambda w: stack(conv(name="one"), None if w else L.ReLU(), conv(name="two")),
        "act",
        "",
    ),
    Mistake(
        "softmax_too_many",
        chain(fc=nn.Linear(4, 3)),
        lambda w: stack(L.Dense(3, name="fc", activation="softmax" if w else None), shape=(4,)),
        "fc.softmax",
        "",
        shape=(4,),
    ),
    Mistake(
        "softmax_axis",
        chain(conv=nn.Conv2d(3, 4, 3), act=nn.Softmax(dim=1)),
        lambda w: stack(conv(), L.Softmax(axis=1 if w else -1)),
        "act",
        "axis",
    ),
    Mistake(
        "pool_counts_padding",
        chain(pool=nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
        lambda w: stack(L.ZeroPadding2D(1), L.AveragePooling2D(3, 1)) if w else stack(L.AveragePooling2D(3, 1, "same")),
        "pool",
        "count_include_pad",
    ),
    Mistake(
        "pool_rounds_up",
        chain(pool=nn.MaxPool2d(2, 2, ceil_mode=True)),
        lambda w: stack(L.MaxPooling2D(2, 2, "valid" if w else "same"), shape=(7, 7, 3)),
        "pool",
        "shape",
        shape=(3, 7, 7),
    ),
    Mistake(
        "average_for_maximum",
        chain(pool=nn.MaxPool2d(2)),
        lambda w: stack((L.AveragePooling2D if w else L.MaxPooling2D)(2)),
        "pool",
        "kind",
    ),
    Mistake(
        "global_maximum",
        chain(conv=nn.Conv2d(3, 4, 3), pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten()),
        lambda w: stack(conv(), (L.GlobalMaxPooling2D if w else L.GlobalAveragePooling2D)()),
        "pool",
        "kind",
    ),
    Mistake(
        "corners_aligned",
        chain(up=nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)),
        lambda w: stack(L.UpSampling2D(2, interpolation="bilinear")),
        "up",
        "coordinates",
        wrong_module=chain(up=nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)),
    ),
    Mistake(
        "nearest_rounded_down",
        chain(up=nn.Upsample(scale_factor=2, mode="bilinear")),
        lambda w: stack(L.UpSampling2D(2, interpolation="nearest" if w else "bilinear")),
        "up",
        "mode",
    ),
    Mistake(
        "layer_norm_epsilon",
        chain(fc=nn.Linear(4, 6), norm=nn.LayerNorm(6)),
        lambda w: stack(
            L.Dense(6, name="fc"), L.LayerNormalization(epsilon=1e-3 if w else 1e-5, name="norm"), shape=(4,)
        ),
        "norm",
        "eps",
        shape=(4,),
    ),
    Mistake(
        "layer_norm_axes",
        lambda: Path(norm_over_channels, conv=nn.Conv2d(3, 4, 3), norm=nn.LayerNorm(4)),
        token_norm,
        "norm",
        "start_axis",
    ),
    Mistake(
        "group_norm_groups",
        chain(conv=nn.Conv2d(3, 4, 3), norm=nn.GroupNorm(2, 4)),
        lambda w: stack(conv(), L.GroupNormalization(4 if w else 2, epsilon=1e-5, name="norm")),
        "norm",
        "groups",
    ),
    Mistake(
        "dropout_keeps",
        chain(fc=nn.Linear(4, 3), drop=nn.Dropout(0.2)),
        lambda w: stack(L.Dense(3, name="fc"), L.Dropout(0.8 if w else 0.2), shape=(4,)),
        "drop",
        "p",
        shape=(4,),
        training=True,
    ),
    Mistake(
        "lstm_gates",
        lambda: Path(lambda m, x: m.rnn(x)[0], rnn=nn.LSTM(3, 4, batch_first=True)),
        lambda w: stack(L.LSTM(4, return_sequences=True, name="rnn"), shape=(5, 3)),
        "rnn.l0",
        "weight_ih",
        changed("rnn", lambda a: [np.concatenate([np.split(x, 4, -1)[i] for i in (0, 2, 1, 3)], -1) for x in a]),
        (5, 3),
    ),
    Mistake(
        "gru_reset",
        lambda: Path(lambda m, x: m.rnn(x)[0], rnn=nn.GRU(3, 4, batch_first=True)),
        lambda w: stack(L.GRU(4, return_sequences=True, reset_after=not w, name="rnn"), shape=(5, 3)),
        "rnn.l0",
        "reset",
        shape=(5, 3),
    ),
    Mistake(
        "shortcut_behind_the_activation",
        lambda: Path(
            lambda m, x: (y := m.one(x)) + m.two(torch.relu(y)),
            one=nn.Conv2d(3, 4, 3, 1, 1),
            two=nn.Conv2d(4, 4, 3, 1, 1),
        ),
        block,
        "other",
        "",
    ),
    Mistake(
        "joined_in_another_order",
        lambda: Path(
            lambda m, x: torch.cat([m.one(x), torch.relu(m.two(x))], 1), one=nn.Conv2d(3, 4, 3), two=nn.Conv2d(3, 4, 3)
        ),
        joined,
        "cat",
        "inputs",
    ),
    Mistake(
        "images_scaled_otherwise",
        lambda: Path(lambda m, x: m.conv(x / 127.5 - 1), conv=nn.Conv2d(3, 4, 3)),
        lambda w: stack(L.Rescaling(1 / 255 if w else 1 / 127.5, 0.0 if w else -1.0), conv()),
        "sub",
        "scale",
    ),
)
