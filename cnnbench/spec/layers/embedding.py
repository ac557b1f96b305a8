"""Embeddings of tokens and of time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.layers.arrays import Initializer, WeightSpec
from cnnbench.spec.layers.base import Example, Layer, Shapes, require_int, require_one_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


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

    example = Example((1, 5), num_embeddings=7, embedding_dim=4)
    int_inputs = (0,)
    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        require_int(self.num_embeddings, "num_embeddings", least=1)
        require_int(self.embedding_dim, "embedding_dim", least=1)
        row = self.padding_idx
        if row is None:
            return self
        if not -self.num_embeddings <= row < self.num_embeddings:
            raise FieldError(
                "padding_idx",
                "is not a row",
                received=row,
                expected=f"{-self.num_embeddings} to {self.num_embeddings - 1}",
            )
        return replace(self, padding_idx=row % self.num_embeddings)

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return ((*inputs[0], self.embedding_dim),)

    def num_indices(self, inputs: Shapes) -> int:
        return self.num_embeddings

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

    example = Example((1,), features=8)
    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        shape = inputs[0]
        if len(shape) not in (1, 2) or shape[1:] not in ((), (1,)):
            raise SpecError("one time for each image is needed", received=shape, expected="(N,) or (N, 1)")
        require_one_of(self.shift, "shift", (0, 1))
        require_one_of(self.order, "order", ("sin_cos", "cos_sin"))
        require_int(self.features, "features", least=2 + 2 * self.shift)
        if not self.max_period > 0:
            raise FieldError("max_period", received=self.max_period, expected="a positive number")
        return self

    def frequencies(self) -> NDArray[Any]:
        """w, in float64."""
        import numpy as np

        half = self.features // 2
        return np.exp(-math.log(self.max_period) * np.arange(half) / (half - self.shift))

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return ((inputs[0][0], self.features),)
