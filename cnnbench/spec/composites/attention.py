"""Attention over tokens: scaled dot products, heads with their projections, additive scores, gated positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cnnbench.errors import SpecError
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.activation import Sigmoid, Softmax, Tanh
from cnnbench.spec.layers.arithmetic import Affine, Parameter
from cnnbench.spec.layers.base import Example, Shape, Shapes, require_int, require_rank
from cnnbench.spec.layers.indexing import Split
from cnnbench.spec.layers.linear import Linear, MatMul
from cnnbench.spec.layers.merge import Add, Divide, Multiply
from cnnbench.spec.layers.reduction import Reduce
from cnnbench.spec.layers.shape import Reshape, Transpose
from cnnbench.spec.layers.tables import CausalMask, RelativeOffsets


@dataclass(frozen=True, kw_only=True)
class ScaledDotProductAttention(Composite, kind="scaled_dot_product_attention"):
    """softmax(scale q k^T + bias) v for each head: every query takes a mean of the values, weighted by its keys.

    Args:
        num_heads: h, a divisor of E and V; head i has features i E / h up to (i + 1) E / h, exclusive.
        scale: Of the logits; None: 1 / sqrt(E / h), the size of one head and not of all.
        causal: Whether a query sees keys up to its own position only. Of equally many queries and keys: for others
            PyTorch's and TensorFlow's alignments differ.

    Shapes:
        q (N, L, E), k (N, S, E), v (N, S, V) -> (N, L, V). A fourth input is added to the logits: (N, h, L, S), any
        of whose axes may be 1 (a mask of large negative numbers, or a bias of positions).

    Source: Vaswani et al., "Attention is all you need" (2017), equation 1.
    """

    num_heads: int = 1
    scale: float | None = None
    causal: bool = False

    example = Example((1, 4, 6), (1, 5, 6), (1, 5, 8))
    num_inputs = (3, 4)

    def resolve(self, inputs: Shapes) -> Self:
        for shape in inputs[:3]:
            require_rank(shape, self.kind, least=3, most=3)
        q, k, v = inputs[:3]
        if q[0] != k[0] or k[:2] != v[:2] or q[2] != k[2]:
            raise SpecError(
                "queries, keys and values do not fit", received=inputs[:3], expected="(N, L, E), (N, S, E), (N, S, V)"
            )
        for features in (q[2], v[2]):
            require_heads(features, self.num_heads)
        if self.causal and q[1] != k[1]:
            raise SpecError(
                "causal attention is defined for as many queries as keys",
                received=f"{q[1]} queries, {k[1]} keys",
                expected="equal numbers",
                remedy="add a mask of your own as a fourth input",
            )
        if len(inputs) == 4:
            _require_bias(inputs[3], (q[0], self.num_heads, q[1], k[1]))
        return self

    def scale_for(self, features: int) -> float:
        """The factor of the logits."""
        return (features // self.num_heads) ** -0.5 if self.scale is None else self.scale

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        q, k, v = (_heads(builder, name, x, self.num_heads) for name, x in zip("qkv", inputs[:3], strict=True))
        q = builder.add("scale", Affine(scale=self.scale_for(inputs[0].shape[2])), q)
        logits = builder.add("logits", MatMul(transpose_b=True), q, k)
        if self.causal:
            mask = builder.add("causal_mask", CausalMask(length=q.shape[2]), q)
            logits = builder.add("causal", Add(broadcast=True), logits, mask)
        if len(inputs) == 4:
            logits = builder.add("bias", Add(broadcast=True), logits, inputs[3])
        weights = builder.add("softmax", Softmax(axis=-1), logits)
        return _joined_heads(builder, builder.add("weighted", MatMul(), weights, v))


@dataclass(frozen=True, kw_only=True)
class MultiHeadAttention(Composite, kind="multi_head_attention"):
    """Self-attention of several heads: q, k and v are projections of one input, the heads' results another.

    Args:
        num_heads: h, a divisor of E.
        qkv_bias, out_bias: Whether the projections have a bias.
        scale, causal: As ``ScaledDotProductAttention``.

    Shapes:
        (N, T, E) -> (N, T, E). A second input is added to the logits: (N, h, T, T), any of whose axes may be 1.

    Weights:
        in_proj.weight (3E, E), q above k above v, in_proj.bias (3E,); out_proj.weight (E, E), out_proj.bias (E,): the
        order and the shapes of torch.nn.MultiheadAttention. Initialisation as ``Linear``; PyTorch's own is Xavier
        for in_proj and zero biases.

    Source: Vaswani et al. (2017), section 3.2.2; Dosovitskiy et al., "ViT" (2020), appendix A.
    """

    num_heads: int
    qkv_bias: bool = True
    out_bias: bool = True
    scale: float | None = None
    causal: bool = False

    example = Example((1, 5, 6), num_heads=2)
    num_inputs = (1, 2)

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3, most=3)
        require_heads(inputs[0][2], self.num_heads)
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        x, *bias = inputs
        features = x.shape[2]
        projected = builder.add("in_proj", Linear(out_features=3 * features, bias=self.qkv_bias), x)
        parts = builder.add_all("qkv", Split(sizes=3, axis=-1), projected)
        attention = ScaledDotProductAttention(num_heads=self.num_heads, scale=self.scale, causal=self.causal)
        y = builder.add("attention", attention, *parts, *bias)
        return builder.add("out_proj", Linear(out_features=features, bias=self.out_bias), y)


@dataclass(frozen=True, kw_only=True)
class AdditiveAttention(Composite, kind="additive_attention"):
    """score_t = w tanh(K x_t + Q q); weights = softmax over t; the result is the mean of the x_t with these weights.

    Args:
        units: U, of the hidden layer.
        bias: Whether K and Q have biases; the paper has none. w never has one: softmax would cancel it.

    Shapes:
        x (N, T, D), and the query q (N, H) or none (attention that looks at x alone). Outputs: the context (N, D)
        and the weights (N, T).

    Weights:
        keys.weight (U, D), query.weight (U, H), score.weight (1, U), and the biases (U,).

    Sources: Bahdanau, Cho, Bengio (2014), appendix A.1.2; Xu et al., "Show, attend and tell" (2015), section 4.2
    (soft attention; x are the positions of a feature map).
    """

    units: int
    bias: bool = False

    example = Example((1, 5, 6), (1, 3), units=4)
    num_inputs = (1, 2)

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3, most=3)
        require_int(self.units, "units", least=1)
        if len(inputs) == 2 and (len(inputs[1]) != 2 or inputs[1][0] != inputs[0][0]):
            raise SpecError("the query has the wrong shape", received=inputs[1], expected=f"({inputs[0][0]}, H)")
        return self

    def expand(self, builder: Builder, *inputs: Value) -> tuple[Value, ...]:
        x, *query = inputs
        steps, features = x.shape[1:]
        hidden = builder.add("keys", Linear(out_features=self.units, bias=self.bias), x)
        if query:
            q = builder.add("query", Linear(out_features=self.units, bias=self.bias), query[0])
            q = builder.add("query_for_each", Reshape(shape=(1, self.units)), q)
            hidden = builder.add("sum", Add(broadcast=True), hidden, q)
        hidden = builder.add("tanh", Tanh(), hidden)
        scores = builder.add("score", Linear(out_features=1, bias=False), hidden)
        weights = builder.add("softmax", Softmax(axis=1), scores)
        context = builder.add("weighted", MatMul(transpose_a=True), weights, x)
        return (
            builder.add("context", Reshape(shape=(features,)), context),
            builder.add("weights", Reshape(shape=(steps,)), weights),
        )


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
            raise SpecError(
                "size does not fit the tokens",
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
        q, k, v = (_heads(builder, name, value, heads) for name, value in zip("qkv", (q, k, v), strict=True))
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
        y = _joined_heads(builder, builder.add("weighted", MatMul(), weights, v))
        return builder.add("proj", Linear(out_features=features), y)


def require_heads(features: int, num_heads: int) -> None:
    """Raises SpecError unless the features can be dealt out to that many heads."""
    require_int(num_heads, "num_heads", least=1)
    if features % num_heads:
        raise SpecError(
            "num_heads does not divide the features",
            received=f"{features} features, {num_heads} heads",
            expected="features that are a multiple of num_heads",
        )


def _require_bias(shape: Shape, full: Shape) -> None:
    if len(shape) != 4 or any(size not in (1, n) for size, n in zip(shape, full, strict=True)):
        raise SpecError(
            "the bias of the logits has the wrong shape", received=shape, expected=f"{full}, any of its axes 1"
        )


def _heads(builder: Builder, name: str, x: Value, num_heads: int) -> Value:
    """(N, T, E) -> (N, h, T, E / h)."""
    tokens, features = x.shape[1:]
    apart = builder.add(f"{name}_heads", Reshape(shape=(tokens, num_heads, features // num_heads)), x)
    return builder.add(f"{name}_first", Transpose(permutation=(0, 2, 1, 3)), apart)


def _joined_heads(builder: Builder, x: Value) -> Value:
    """(N, h, T, D) -> (N, T, h D)."""
    _, heads, tokens, features = x.shape
    x = builder.add("tokens_first", Transpose(permutation=(0, 2, 1, 3)), x)
    return builder.add("joined", Reshape(shape=(tokens, heads * features)), x)
