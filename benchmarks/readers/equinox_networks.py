"""Small networks in the idiom of Equinox's documentation: modules for one image, mapped over the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

IMAGE = (3, 16, 16)


class Plain(eqx.Module):
    """The network of the documentation's MNIST example."""

    layers: list[Any]

    def __init__(self, key: Any) -> None:
        keys = jax.random.split(key, 4)
        self.layers = [
            eqx.nn.Conv2d(3, 8, 3, key=keys[0]), jax.nn.relu, eqx.nn.MaxPool2d(2),
            jnp.ravel, eqx.nn.Linear(8 * 13 * 13, 32, key=keys[1]), jax.nn.sigmoid,
            eqx.nn.Linear(32, 24, key=keys[2]), jax.nn.relu, eqx.nn.Linear(24, 10, key=keys[3]), jax.nn.log_softmax,
        ]  # fmt: skip

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


class Stateful(eqx.Module):
    """A residual block with batch norms, whose statistics are a state."""

    conv1: Any
    norm1: Any
    conv2: Any
    norm2: Any
    project: Any
    pool: Any
    head: Any

    def __init__(self, key: Any) -> None:
        keys = jax.random.split(key, 4)
        self.conv1 = eqx.nn.Conv2d(3, 16, 3, stride=2, padding=1, use_bias=False, key=keys[0])
        self.norm1 = eqx.nn.BatchNorm(16, axis_name="batch", mode="batch")
        self.conv2 = eqx.nn.Conv2d(16, 16, 3, padding=1, use_bias=False, key=keys[1])
        self.norm2 = eqx.nn.BatchNorm(16, axis_name="batch", mode="ema")
        self.project = eqx.nn.Conv2d(3, 16, 1, stride=2, key=keys[2])
        self.pool = eqx.nn.AdaptiveAvgPool2d(1)
        self.head = eqx.nn.Linear(16, 10, key=keys[3])

    def __call__(self, x: Any, state: Any) -> Any:
        y, state = self.norm1(self.conv1(x), state)
        y, state = self.norm2(self.conv2(jax.nn.relu(y)), state)
        y = self.pool(jax.nn.relu(y + self.project(x)))
        return self.head(jnp.ravel(y)), state


class GroupNormed(eqx.Module):
    """Group norms, SiLU and an average pool."""

    conv: Any
    norm: Any
    again: Any
    pool: Any
    head: Any

    def __init__(self, key: Any) -> None:
        keys = jax.random.split(key, 3)
        self.conv = eqx.nn.Conv2d(3, 16, 3, padding=1, key=keys[0])
        self.norm = eqx.nn.GroupNorm(4, 16)
        self.again = eqx.nn.Conv2d(16, 16, 3, padding="SAME", dilation=2, key=keys[1])
        self.pool = eqx.nn.AvgPool2d(2, 2)
        self.head = eqx.nn.Linear(16, 10, key=keys[2])

    def __call__(self, x: Any) -> Any:
        x = self.conv(x)
        x = self.pool(x + self.again(jax.nn.silu(self.norm(x))))
        return self.head(jnp.mean(x, axis=(1, 2)))


class Depthwise(eqx.Module):
    """A depthwise convolution with dropout, PReLU and a layer norm over channels."""

    layers: eqx.nn.Sequential
    norm: Any
    head: Any

    def __init__(self, key: Any) -> None:
        keys = jax.random.split(key, 4)
        self.layers = eqx.nn.Sequential([
            eqx.nn.Conv2d(3, 12, 1, key=keys[0]), eqx.nn.Lambda(eqx.nn.PReLU(0.25)),
            eqx.nn.Conv2d(12, 12, 3, padding=1, groups=12, key=keys[1]), eqx.nn.Lambda(jax.nn.relu6),
            eqx.nn.Dropout(0.3), eqx.nn.Conv2d(12, 24, 1, key=keys[2]),
        ])  # fmt: skip
        self.norm, self.head = eqx.nn.LayerNorm(24), eqx.nn.Linear(24, 10, key=keys[3])

    def __call__(self, x: Any) -> Any:
        return self.head(self.norm(self.layers(x).max(axis=(1, 2))))


class Attention(eqx.Module):
    """The vision transformer of the documentation, with one block."""

    patches: Any
    token: Any
    positions: Any
    norm1: Any
    attention: Any
    norm2: Any
    up: Any
    down: Any
    head: Any

    def __init__(self, key: Any) -> None:
        keys = jax.random.split(key, 7)
        self.patches = eqx.nn.Conv2d(3, 24, 4, stride=4, key=keys[0])
        self.token = jax.random.normal(keys[1], (1, 24))
        self.positions = jax.random.normal(keys[2], (17, 24))
        self.norm1, self.norm2 = eqx.nn.LayerNorm(24), eqx.nn.LayerNorm(24)
        self.attention = eqx.nn.MultiheadAttention(4, 24, key=keys[3])
        self.up, self.down = eqx.nn.Linear(24, 48, key=keys[4]), eqx.nn.Linear(48, 24, key=keys[5])
        self.head = eqx.nn.Linear(24, 10, key=keys[6])

    def __call__(self, x: Any) -> Any:
        x = self.patches(x).reshape(24, -1).T
        x = jnp.concatenate((self.token, x), axis=0) + self.positions
        y = jax.vmap(self.norm1)(x)
        x = x + self.attention(y, y, y)
        y = jax.nn.gelu(jax.vmap(self.up)(jax.vmap(self.norm2)(x)))
        return self.head((x + jax.vmap(self.down)(y))[0])


class UNet(eqx.Module):
    """Down and up again by a transposed convolution and a resize."""

    first: Any
    down: Any
    up: Any
    join: Any
    last: Any
    pool: Any

    def __init__(self, key: Any) -> None:
        keys = jax.random.split(key, 5)
        self.first = eqx.nn.Conv2d(3, 8, 3, padding=1, key=keys[0])
        self.down = eqx.nn.Conv2d(8, 16, 3, padding=1, key=keys[1])
        self.up = eqx.nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1, key=keys[2])
        self.join = eqx.nn.Conv2d(16, 8, 3, padding=1, key=keys[3])
        self.last = eqx.nn.Conv2d(8, 2, 1, key=keys[4])
        self.pool = eqx.nn.MaxPool2d(2, 2)

    def __call__(self, x: Any) -> Any:
        one = jax.nn.relu(self.first(x))
        low = jax.nn.relu(self.down(self.pool(one)))
        up = jax.nn.relu(self.join(jnp.concatenate([self.up(low), one], axis=0)))
        up = jax.image.resize(up, (up.shape[0], 2 * up.shape[1], 2 * up.shape[2]), "bilinear")
        return self.last(up)


_MODULES = {item.__name__: item for item in (Plain, Stateful, GroupNormed, Depthwise, Attention, UNet)}
NAMES = tuple(_MODULES)


def network(name: str) -> tuple[Callable[[Any, Any], Any], Any, tuple[int, ...]]:
    """(apply, parameters, shape of an image)."""
    kind = _MODULES[name]
    if kind is Stateful:
        model, state = eqx.nn.make_with_state(kind)(jax.random.key(0))
        batch = jax.random.normal(jax.random.key(1), (8, *IMAGE))  # until it has seen one, the statistics are none
        _, state = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(batch, state)
        model = eqx.Partial(eqx.nn.inference_mode(model), state=state)
    else:
        model = eqx.nn.inference_mode(kind(jax.random.key(0)))
    parameters, static = eqx.partition(model, eqx.is_array)

    def apply(p: Any, x: Any) -> Any:
        found = jax.vmap(eqx.combine(p, static))(x)
        return found[0] if kind is Stateful else found

    return apply, parameters, IMAGE
