"""Attention over tokens: scaled dot products, heads with their projections, additive scores, gated positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.activation import Softmax, Tanh
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.base import Example, Shapes, require_int, require_rank
from cnnbench.spec.layers.indexing import Split
from cnnbench.spec.layers.linear import Linear, MatMul
from cnnbench.spec.layers.merge import Add
from cnnbench.spec.layers.shape import Reshape, Transpose
from cnnbench.spec.layers.tables import CausalMask


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
            raise FieldError(
                "causal",
                "attention is defined for as many queries as keys",
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
        q, k, v = (split_heads(builder, name, x, self.num_heads) for name, x in zip("qkv", inputs[:3], strict=True))
        q = builder.add("scale", Affine(scale=self.scale_for(inputs[0].shape[2])), q)
        logits = builder.add("logits", MatMul(transpose_b=True), q, k)
        if self.causal:
            mask = builder.add("causal_mask", CausalMask(length=q.shape[2]), q)
            logits = builder.add("causal", Add(broadcast=True), logits, mask)
        if len(inputs) == 4:
            logits = builder.add("bias", Add(broadcast=True), logits, inputs[3])
        weights = builder.add("softmax", Softmax(axis=-1), logits)
        return joined_heads(builder, builder.add("weighted", MatMul(), weights, v))


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


def require_heads(features: int, num_heads: int) -> None:
    """Raises SpecError unless the features can be dealt out to that many heads."""
    require_int(num_heads, "num_heads", least=1)
    if features % num_heads:
        raise FieldError(
            "num_heads",
            "does not divide the features",
            received=f"{features} features, {num_heads} heads",
            expected="features that are a multiple of num_heads",
        )


def _require_bias(shape: Shape, full: Shape) -> None:
    if len(shape) != 4 or any(size not in (1, n) for size, n in zip(shape, full, strict=True)):
        raise SpecError(
            "the bias of the logits has the wrong shape", received=shape, expected=f"{full}, any of its axes 1"
        )


def split_heads(builder: Builder, name: str, x: Value, num_heads: int) -> Value:
    """(N, T, E) -> (N, h, T, E / h).

    Args:
        builder: Where the nodes go.
        name: What the nodes' names start with.
        x: (N, T, E).
        num_heads: h, a divisor of E.
    """
    tokens, features = x.shape[1:]
    apart = builder.add(f"{name}split_heads", Reshape(shape=(tokens, num_heads, features // num_heads)), x)
    return builder.add(f"{name}_first", Transpose(permutation=(0, 2, 1, 3)), apart)


def joined_heads(builder: Builder, x: Value) -> Value:
    """(N, h, T, D) -> (N, T, h D)."""
    _, heads, tokens, features = x.shape
    x = builder.add("tokens_first", Transpose(permutation=(0, 2, 1, 3)), x)
    return builder.add("joined", Reshape(shape=(tokens, heads * features)), x)
