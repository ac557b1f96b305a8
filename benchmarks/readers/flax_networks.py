"""Small networks in the idiom of Flax's documentation: Linen modules, and NNX modules that are split and merged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

IMAGE = (16, 16, 3)


class Plain(nn.Module):
    """Convolutions, batch norms, pools and two dense layers."""

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        for features in (8, 16):
            x = nn.Conv(features, (3, 3))(x)
            x = nn.BatchNorm(use_running_average=not train)(x)
            x = nn.relu(x)
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = x.reshape((x.shape[0], -1))
        x = nn.relu(nn.Dense(32)(x))
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(10)(x)


class Residual(nn.Module):
    """A strided residual block with a projection, and a global mean."""

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        def norm(y: Any) -> Any:
            return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5)(y)

        x = nn.relu(norm(nn.Conv(8, (7, 7), (2, 2), padding=[(3, 3), (3, 3)], use_bias=False)(x)))
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
        y = nn.relu(norm(nn.Conv(16, (3, 3), (2, 2), use_bias=False)(x)))
        y = norm(nn.Conv(16, (3, 3), use_bias=False)(y))
        x = nn.relu(norm(nn.Conv(16, (1, 1), (2, 2), use_bias=False)(x)) + y)
        return nn.Dense(10)(jnp.mean(x, axis=(1, 2)))


class GroupNormed(nn.Module):
    """Group norms and swish, as in diffusion models; an average pool."""

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        x = nn.Conv(16, (3, 3))(x)
        y = nn.Conv(16, (3, 3))(nn.swish(nn.GroupNorm(num_groups=4)(x)))
        x = nn.avg_pool(x + y, (2, 2), strides=(2, 2))
        x = nn.leaky_relu(nn.InstanceNorm()(x))
        return nn.Dense(10)(nn.LayerNorm()(x.mean((1, 2))))


class Depthwise(nn.Module):
    """An inverted residual block with squeeze and excitation."""

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        x = nn.hard_swish(nn.Conv(8, (3, 3), strides=2)(x))
        y = nn.relu6(nn.Conv(24, (1, 1), use_bias=False)(x))
        y = nn.relu6(nn.Conv(24, (3, 3), feature_group_count=24, use_bias=False)(y))
        s = nn.relu(nn.Conv(6, (1, 1))(jnp.mean(y, axis=(1, 2), keepdims=True)))
        y = y * nn.sigmoid(nn.Conv(24, (1, 1))(s))
        return nn.Dense(10)((x + nn.Conv(8, (1, 1), use_bias=False)(y)).mean(axis=(1, 2)))


class Attention(nn.Module):
    """A transformer's block over patches, with a class token and positions."""

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        x = nn.Conv(24, (4, 4), strides=(4, 4), padding="VALID")(x)
        n, h, w, c = x.shape
        x = x.reshape(n, h * w, c)
        token = self.param("cls", nn.initializers.normal(0.1), (1, 1, c))
        x = jnp.concatenate([jnp.tile(token, (n, 1, 1)), x], axis=1)
        x = x + self.param("positions", nn.initializers.normal(0.1), (1, h * w + 1, c))
        y = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(num_heads=4, deterministic=not train)(y, y)
        y = nn.gelu(nn.Dense(48)(nn.LayerNorm()(x)))
        return nn.Dense(10)(nn.LayerNorm()(x + nn.Dense(24)(y))[:, 0])


class UNet(nn.Module):
    """Down and up again: a transposed convolution, a resize, and concatenations."""

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        one = nn.relu(nn.Conv(8, (3, 3))(x))
        two = nn.relu(nn.Conv(16, (3, 3))(nn.max_pool(one, (2, 2), strides=(2, 2))))
        low = nn.relu(nn.Conv(16, (3, 3))(nn.max_pool(two, (2, 2), strides=(2, 2))))
        up = nn.ConvTranspose(16, (2, 2), strides=(2, 2))(low)
        up = nn.relu(nn.Conv(8, (3, 3))(jnp.concatenate([up, two], axis=-1)))
        n, h, w, c = up.shape
        up = jax.image.resize(up, (n, 2 * h, 2 * w, c), "nearest")
        return nn.Conv(2, (1, 1))(jnp.concatenate([up, one], axis=-1))


class NnxPlain(nnx.Module):
    """The network of NNX's first tutorial, with a batch norm."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv1, self.norm = nnx.Conv(3, 8, (3, 3), rngs=rngs), nnx.BatchNorm(8, rngs=rngs)
        self.conv2 = nnx.Conv(8, 16, (3, 3), rngs=rngs)
        self.linear1, self.linear2 = nnx.Linear(256, 32, rngs=rngs), nnx.Linear(32, 10, rngs=rngs)
        self.dropout = nnx.Dropout(0.025, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = nnx.avg_pool(nnx.relu(self.norm(self.conv1(x))), (2, 2), (2, 2))
        x = nnx.avg_pool(nnx.relu(self.conv2(x)), (2, 2), (2, 2)).reshape(x.shape[0], -1)
        return self.linear2(self.dropout(nnx.relu(self.linear1(x))))


class NnxAttention(nnx.Module):
    """Attention over patches."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.patches = nnx.Conv(3, 24, (4, 4), strides=(4, 4), padding="VALID", rngs=rngs)
        self.norm = nnx.LayerNorm(24, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(4, 24, decode=False, rngs=rngs)
        self.head = nnx.Linear(24, 10, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = self.patches(x)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        return self.head(nnx.gelu(x + self.attention(self.norm(x))).mean(axis=1))


_LINEN = {item.__name__: item for item in (Plain, Residual, GroupNormed, Depthwise, Attention, UNet)}
_NNX = {item.__name__: item for item in (NnxPlain, NnxAttention)}
NAMES = (*_LINEN, *_NNX)


def network(name: str) -> tuple[Callable[[Any, Any], Any], Any, tuple[int, ...]]:
    """(apply, parameters, shape of an image)."""
    if name in _LINEN:
        model = _LINEN[name]()
        variables = model.init(jax.random.key(0), jnp.zeros((2, *IMAGE)), train=False)
        return lambda p, x: model.apply(p, x, train=False), variables, IMAGE
    module = _NNX[name](nnx.Rngs(0))
    module.eval()
    graph, state, rest = nnx.split(module, nnx.Any(nnx.Param, nnx.BatchStat), ...)
    return lambda p, x: nnx.merge(graph, p, rest)(x), state, IMAGE
