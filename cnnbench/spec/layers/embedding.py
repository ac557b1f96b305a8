"""Embeddings: of tokens, of patches of an image, of positions and of time; and the class token."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from cnnbench.errors import SpecError
from cnnbench.spec.layers.arithmetic import Parameter
from cnnbench.spec.layers.base import (
    Initializer,
    Layer,
    Shapes,
    WeightSpec,
    require_int,
    require_one_of,
    require_rank,
)
from cnnbench.spec.layers.composite import Composite
from cnnbench.spec.layers.conv import Conv
from cnnbench.spec.layers.merge import Add, Concat
from cnnbench.spec.layers.shape import Expand, Flatten, Transpose
from cnnbench.spec.layers.tables import SinusoidTable, require_even
from cnnbench.spec.layers.windows import PerAxis, per_axis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnbench.spec.graph import Builder, Value


@dataclass(frozen=True, kw_only=True)
class TokenEmbedding(Layer, kind="token_embedding"):
    """The row of a table that belongs to each token.

    Args:
        num_embeddings: V, of rows. embedding_dim: D, the length of one.
        padding_idx: A row that gets no gradient, so that it stays as it was loaded; None for none. Unlike PyTorch's
            layer it is not set to 0 at the start.

    Shapes:
        integers from 0 to V - 1 of any shape (N, ...) -> (N, ..., D). Others are an error of the data that no backend
        finds in all modes: PyTorch and TensorFlow (not XLA) raise, JAX and XLA take another row.

    Weights:
        weight (V, D), normal with standard deviation 1 (PyTorch's default; Keras: uniform in +-0.05).
    """

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None = None

    int_inputs = (0,)
    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        require_int(self.num_embeddings, "num_embeddings", least=1)
        require_int(self.embedding_dim, "embedding_dim", least=1)
        row = self.padding_idx
        if row is None:
            return self
        if not -self.num_embeddings <= row < self.num_embeddings:
            raise SpecError(
                "padding_idx is not a row",
                received=row,
                expected=f"{-self.num_embeddings} to {self.num_embeddings - 1}",
            )
        return replace(self, padding_idx=row % self.num_embeddings)

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return ((*inputs[0], self.embedding_dim),)

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        return (WeightSpec("weight", (self.num_embeddings, self.embedding_dim), Initializer("normal", 1.0)),)


@dataclass(frozen=True, kw_only=True)
class TimestepEmbedding(Layer, kind="timestep_embedding"):
    """sin(t w_i) and cos(t w_i) of a time t, w_i = max_period^(-i / (n - shift)), i = 0 ... n - 1; what a network makes
    of it (DDPM: two linear layers) is its own.

    The angle is computed in float32 at least, whatever the precision: t = 999 is 1000 in bfloat16.

    Args:
        features: D; n = floor(D / 2), and an odd D ends with a 0.
        max_period: 10,000.
        shift: 1: the last frequency is 1 / max_period (DDPM's code), 0: it stays above (ADM, and the transformer's).
        order: ``"sin_cos"``: all sines, then all cosines (DDPM), or ``"cos_sin"`` (ADM).

    Shapes:
        (N,) or (N, 1) -> (N, features).

    Source: Ho, Jain, Abbeel (2020), appendix B, and the authors' ``get_timestep_embedding``.
    """

    features: int
    max_period: float = 10000.0
    shift: Literal[0, 1] = 1
    order: Literal["sin_cos", "cos_sin"] = "sin_cos"

    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        shape = inputs[0]
        if len(shape) not in (1, 2) or shape[1:] not in ((), (1,)):
            raise SpecError("one time for each image is needed", received=shape, expected="(N,) or (N, 1)")
        require_one_of(self.shift, "shift", (0, 1))
        require_one_of(self.order, "order", ("sin_cos", "cos_sin"))
        require_int(self.features, "features", least=2 + 2 * self.shift)
        if not self.max_period > 0:
            raise SpecError("max_period is not valid", received=self.max_period, expected="a positive number")
        return self

    def frequencies(self) -> NDArray[Any]:
        """w, in float64."""
        import numpy as np

        half = self.features // 2
        return np.exp(-math.log(self.max_period) * np.arange(half) / (half - self.shift))

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return ((inputs[0][0], self.features),)


@dataclass(frozen=True, kw_only=True)
class PatchEmbedding(Composite, kind="patch_embedding"):
    """A linear map of each patch of an image: a convolution whose stride is its kernel.

    Args:
        embed_dim: E. patch_size: for each spatial axis, a divisor of the image's size.
        arrangement: ``"tokens"``: (N, patches, E), row by row (ViT), or ``"grid"``: (N, *grid, E) (Swin).

    Shapes:
        (N, C, *spatial) -> (N, patches, E) or (N, *grid, E).

    Weights:
        proj.weight (E, C, *patch_size), proj.bias (E,).

    Source: Dosovitskiy et al., "ViT" (2020), equation 1.
    """

    embed_dim: int
    patch_size: PerAxis
    arrangement: Literal["tokens", "grid"] = "tokens"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3, most=5)
        require_one_of(self.arrangement, "arrangement", ("tokens", "grid"))
        spatial = inputs[0][2:]
        patch = per_axis(self.patch_size, len(spatial), "patch_size", least=1)
        if any(n % p for n, p in zip(spatial, patch, strict=True)):
            raise SpecError(
                "the image has no whole number of patches",
                received=f"{spatial} by {patch}",
                expected="a multiple of patch_size along each axis",
                remedy="resize or pad the image",
            )
        return replace(self, patch_size=patch)

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        conv = Conv(out_channels=self.embed_dim, kernel_size=self.patch_size, stride=self.patch_size)
        x = builder.add("proj", conv, inputs[0])
        if self.arrangement == "tokens":
            x = builder.add("flat", Flatten(start_axis=2), x)
        rank = len(x.shape)
        return builder.add("features_last", Transpose(permutation=(0, *range(2, rank), 1)), x)


@dataclass(frozen=True, kw_only=True)
class ClassToken(Composite, kind="class_token"):
    """A learned token, the same for every image, put before or after its tokens.

    Args:
        position: ``"first"`` (ViT) or ``"last"``.

    Shapes:
        (N, T, E) -> (N, T + 1, E).

    Weights:
        token.value (1, 1, E), zeros at the start.

    Source: Dosovitskiy et al. (2020), equation 1.
    """

    position: Literal["first", "last"] = "first"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3, most=3)
        require_one_of(self.position, "position", ("first", "last"))
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        x = inputs[0]
        features = x.shape[2]
        token = builder.add("token", Parameter(shape=(1, 1, features)))
        token = builder.add("for_each", Expand(shape=(1, features)), token, x)
        parts = (token, x) if self.position == "first" else (x, token)
        return builder.add("concat", Concat(axis=1), *parts)


@dataclass(frozen=True, kw_only=True)
class LearnedPositions(Composite, kind="learned_positions"):
    """x plus a learned vector for each position, the same for every image.

    Args:
        scale: Standard deviation at the start; 0.02 in ViT's authors' code and torchvision.

    Shapes:
        (N, T, E) -> the same; any rank, one value for each element of an image.

    Weights:
        positions.value (1, T, E).

    Source: Dosovitskiy et al. (2020), equation 1.
    """

    scale: float = 0.02

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        x = inputs[0]
        table = Parameter(shape=(1, *x.shape[1:]), distribution="normal", scale=self.scale)
        return builder.add("add", Add(broadcast=True), x, builder.add("positions", table))


@dataclass(frozen=True, kw_only=True)
class SinusoidalPositions(Composite, kind="sinusoidal_positions"):
    """x plus sines and cosines of each position, which nothing trains and no file holds.

    Args:
        max_period, arrangement: As ``SinusoidTable``.

    Shapes:
        (N, T, E) -> the same; E even.

    Source: Vaswani et al., "Attention is all you need" (2017), section 3.5.
    """

    max_period: float = 10000.0
    arrangement: Literal["interleaved", "halves"] = "interleaved"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3, most=3)
        require_even(inputs[0][2], "the number of features")
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        x = inputs[0]
        table = SinusoidTable(
            length=x.shape[1], features=x.shape[2], max_period=self.max_period, arrangement=self.arrangement
        )
        return builder.add("add", Add(broadcast=True), x, builder.add("positions", table, x))
