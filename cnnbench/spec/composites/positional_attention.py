"""ConViT's attention, in which a gate weighs content against position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cnnbench.errors import FieldError
from cnnbench.spec.composites.attention import joined_heads, require_heads, split_heads
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.activation import Sigmoid, Softmax
from cnnbench.spec.layers.arithmetic import Affine, Parameter
from cnnbench.spec.layers.base import Example, Shapes, require_rank
from cnnbench.spec.layers.indexing import Split
from cnnbench.spec.layers.linear import Linear, MatMul
from cnnbench.spec.layers.merge import Add, Divide, Multiply
from cnnbench.spec.layers.reduction import Reduce
from cnnbench.spec.layers.shape import Reshape, Transpose
from cnnbench.spec.layers.tables import RelativeOffsets


@dataclass(frozen=True, kw_only=True)
class GatedPositionalSelfAttention(Composite, kind="gated_positional_self_attention"):
    """Self-attention whose heads mix what tokens say with where they stand, by a learned gate a head.

    a = (1 - g) softmax(q k^T / sqrt(E / h)) + g softmax(p), each row divided by its sum; g = sigmoid(gating_param),
    p = W (dx, dy, dx^2 + dy^2) + b from the query's patch to the key's. The result is a v, projected.

    Args:
        num_heads: h, a divisor of E.
        size: Rows and columns of the grid of patches. None: square.
        qkv_bias: Whether q, k and v have biases; out_proj and the positions always do.

    Shapes:
        (N, T, E) -> (N, T, E) with T = prod(size), patches row by row and no class token.

    Weights:
        gating_param.value (h,), which starts at 1; qk.weight (2E, E), v.weight (E, E), pos_proj.weight (h, 3),
        pos_proj.bias (h,), proj.weight (E, E), proj.bias (E,). The authors start v as the identity and pos_proj so
        that each head looks at one neighbour; here they start as ``Linear``.

    Source: d'Ascoli et al., "ConViT" (2021), equations 7 and 8, and the authors' code, whose division by the sum is
    1 but for rounding.
    """

    num_heads: int
    size: tuple[int, int] | None = None
    qkv_bias: bool = False

    example = Example((1, 9, 6), num_heads=2)

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3, most=3)
        require_heads(inputs[0][2], self.num_heads)
        rows, columns = self.grid(inputs[0][1])
        if rows * columns != inputs[0][1]:
            raise FieldError(
                "size",
                "does not fit the tokens",
                received=f"{inputs[0][1]} tokens, size {self.size}",
                expected="size whose product is the number of tokens, or a square number of them",
                remedy="give size=(rows, columns), and leave class tokens out",
            )
        return self

    def grid(self, tokens: int) -> tuple[int, int]:
        """Rows and columns."""
        return self.size or (round(tokens**0.5),) * 2

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        x, heads = inputs[0], self.num_heads
        features = x.shape[2]
        gate = builder.add("gating_param", Parameter(shape=(heads,), scale=1.0))
        gate = builder.add("gate_for_each", Reshape(shape=(1, heads, 1, 1), whole=True), gate)
        gate = builder.add("gate", Sigmoid(), gate)
        pair = builder.add("qk", Linear(out_features=2 * features, bias=self.qkv_bias), x)
        q, k = builder.add_all("qk_split", Split(sizes=2, axis=-1), pair)
        v = builder.add("v", Linear(out_features=features, bias=self.qkv_bias), x)
        q, k, v = (split_heads(builder, name, value, heads) for name, value in zip("qkv", (q, k, v), strict=True))
        q = builder.add("scale", Affine(scale=(features // heads) ** -0.5), q)
        content = builder.add("softmax", Softmax(axis=-1), builder.add("logits", MatMul(transpose_b=True), q, k))
        offsets = builder.add("offsets", RelativeOffsets(size=self.grid(x.shape[1])), x)
        position = builder.add("pos_proj", Linear(out_features=heads), offsets)
        position = builder.add("pos_heads", Transpose(permutation=(0, 3, 1, 2)), position)
        position = builder.add("pos_softmax", Softmax(axis=-1), position)
        rest = builder.add("rest", Affine(scale=-1.0, shift=1.0), gate)
        weights = builder.add(
            "mixed",
            Add(broadcast=True),
            builder.add("of_content", Multiply(), content, rest),
            builder.add("of_position", Multiply(), position, gate),
        )
        total = builder.add("total", Reduce(function="sum", axes=(-1,)), weights)
        weights = builder.add("normalized", Divide(), weights, total)
        y = joined_heads(builder, builder.add("weighted", MatMul(), weights, v))
        return builder.add("proj", Linear(out_features=features), y)
