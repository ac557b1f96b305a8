"""Embeddings of patches of an image and of positions; the class token."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from cnnbench.errors import SpecError
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.arithmetic import Parameter
from cnnbench.spec.layers.base import Example, Shapes, require_one_of, require_rank
from cnnbench.spec.layers.conv import Conv
from cnnbench.spec.layers.merge import Add, Concat
from cnnbench.spec.layers.shape import Expand, Flatten, Transpose
from cnnbench.spec.layers.tables import SinusoidTable, require_even
from cnnbench.spec.layers.windows import PerAxis, per_axis


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

    example = Example((1, 4, 6, 6), embed_dim=5, patch_size=2)

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

    example = Example((1, 5, 6))

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

    example = Example((1, 5, 6))

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

    example = Example((1, 5, 6))

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
