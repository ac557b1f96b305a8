"""Self-attention within windows of an image, as in the Swin transformer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from cnnbench.errors import FieldError
from cnnbench.spec.composites.attention import require_heads
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.activation import Softmax
from cnnbench.spec.layers.arithmetic import Affine, Parameter
from cnnbench.spec.layers.base import Example, Shapes, require_rank
from cnnbench.spec.layers.indexing import Gather, Roll, Slice, Split
from cnnbench.spec.layers.linear import Linear, MatMul
from cnnbench.spec.layers.merge import Add
from cnnbench.spec.layers.padding import Pad
from cnnbench.spec.layers.shape import Reshape, Transpose
from cnnbench.spec.layers.tables import ShiftedWindowMask, relative_position_index
from cnnbench.spec.layers.windows import PerAxis, per_axis, require_axes

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class WindowAttention(Composite, kind="window_attention"):
    """Multi-head self-attention within each window of an image, with a learned bias for each offset of two positions.

    The image is padded by zeros at its end to whole windows, rolled by -shift, cut into windows, attended, and all of
    it undone. Rolled together, positions that were no neighbours do not see each other: ``masked`` is added to their
    logits. Padding takes part (its keys are the projection's bias), as in torchvision.

    Args:
        num_heads: h, a divisor of E.
        window_size: Of windows, for rows and columns.
        shift: By how much windows are moved, 0 or half of ``window_size`` in Swin. Along an axis that one window
            covers nothing is shifted (torchvision's rule).
        qkv_bias: Whether qkv has a bias.
        masked: Added to masked logits: -100 in the authors' code and torchvision.

    Shapes:
        (N, H, W, E) -> (N, H, W, E): the features come last, as the layers around it have them.

    Weights:
        relative_position_bias_table.value ((2 h - 1) (2 w - 1), heads) for windows of h by w, drawn with standard
        deviation 0.02 (the authors cut the normal at 2; that is left out); qkv.weight (3E, E), q above k above v,
        qkv.bias (3E,); proj.weight (E, E), proj.bias (E,).

    Source: Liu et al., "Swin transformer" (2021), equation 4 and section 3.2; torchvision's names and order.
    """

    num_heads: int
    window_size: PerAxis = 7
    shift: PerAxis = 0
    qkv_bias: bool = True
    masked: float = -100.0

    example = Example((1, 4, 6, 4), num_heads=2, window_size=(2, 3), shift=(1, 1))

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=4, most=4)
        require_heads(inputs[0][3], self.num_heads)
        window = per_axis(self.window_size, 2, "window_size", least=1)
        shift = per_axis(self.shift, 2, "shift", least=0)
        if any(s >= w for s, w in zip(shift, window, strict=True)):
            raise FieldError("shift", received=shift, expected=f"below the window size {window}")
        return replace(self, window_size=window, shift=shift)

    def windows(self, size: tuple[int, ...]) -> tuple[Pair, Pair, Pair]:
        """(a window's size, the padded image's size, the shift that is used) for an image of ``size``."""
        window = _pair(require_axes(self.window_size))
        padded = _pair(tuple(-(-n // w) * w for n, w in zip(size, window, strict=True)))
        shift = require_axes(self.shift)
        used = _pair(tuple(s if w < n else 0 for s, w, n in zip(shift, window, padded, strict=True)))
        return window, padded, used

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        x = inputs[0]
        size = x.shape[1:3]
        window, padded, shift = self.windows(size)
        table_rows = (2 * window[0] - 1) * (2 * window[1] - 1)
        table = builder.add(
            "relative_position_bias_table",
            Parameter(shape=(table_rows, self.num_heads), distribution="normal", scale=0.02),
        )
        if padded != size:
            ends = tuple((0, p - n) for p, n in zip(padded, size, strict=True))
            x = builder.add("pad", Pad(padding=(*ends, (0, 0))), x)
        if any(shift):
            x = builder.add("roll", Roll(shifts=tuple(-s for s in shift), axes=(1, 2)), x)
        x = _cut(builder, x, window)
        x = self._attend(builder, x, self._bias(builder, table, window), (padded, window, shift))
        x = _joined(builder, x, padded, window)
        if any(shift):
            x = builder.add("roll_back", Roll(shifts=shift, axes=(1, 2)), x)
        if padded != size:
            x = builder.add("unpad", Slice(starts=(0, 0), ends=size), x)
        return x

    def _bias(self, builder: Builder, table: Value, window: Pair) -> Value:
        """(1, 1, heads, T, T): the row of the table that belongs to each pair of positions."""
        tokens = window[0] * window[1]
        bias = builder.add("bias_rows", Gather(indices=relative_position_index(window), axis=0), table)
        shape = (1, 1, tokens, tokens, self.num_heads)
        bias = builder.add("bias_pairs", Reshape(shape=shape, whole=True), bias)
        return builder.add("bias_heads", Transpose(permutation=(0, 1, 4, 2, 3)), bias)

    def _attend(self, builder: Builder, x: Value, bias: Value, shifted: tuple[Pair, Pair, Pair]) -> Value:
        """Attention of (N, windows, T, E) within each window."""
        count, tokens, features = x.shape[1:]
        heads = self.num_heads
        projected = builder.add("qkv", Linear(out_features=3 * features, bias=self.qkv_bias), x)
        parts = builder.add_all("qkv_split", Split(sizes=3, axis=-1), projected)
        apart = Reshape(shape=(count, tokens, heads, features // heads))
        swap = Transpose(permutation=(0, 1, 3, 2, 4))
        q, k, v = (
            builder.add(f"{name}_first", swap, builder.add(f"{name}_heads", apart, part))
            for name, part in zip("qkv", parts, strict=True)
        )
        q = builder.add("scale", Affine(scale=(features // heads) ** -0.5), q)
        terms = [builder.add("logits", MatMul(transpose_b=True), q, k), bias]
        if any(shifted[2]):
            size, window, shift = shifted
            mask = ShiftedWindowMask(size=size, window_size=window, shift=shift, masked=self.masked)
            terms.append(builder.add("mask", mask, q))
        weights = builder.add("softmax", Softmax(axis=-1), builder.add("biased", Add(broadcast=True), *terms))
        y = builder.add("tokens_first", swap, builder.add("weighted", MatMul(), weights, v))
        y = builder.add("joined", Reshape(shape=(count, tokens, features)), y)
        return builder.add("proj", Linear(out_features=features), y)


def _pair(values: tuple[int, ...]) -> Pair:
    first, second = values
    return first, second


def _cut(builder: Builder, x: Value, window: Pair) -> Value:
    """(N, H, W, E) -> (N, windows, T, E), windows and their positions row by row."""
    _, height, width, features = x.shape
    rows, columns = height // window[0], width // window[1]
    x = builder.add("cut", Reshape(shape=(rows, window[0], columns, window[1], features)), x)
    x = builder.add("windows_first", Transpose(permutation=(0, 1, 3, 2, 4, 5)), x)
    return builder.add("windows", Reshape(shape=(rows * columns, window[0] * window[1], features)), x)


def _joined(builder: Builder, x: Value, size: Pair, window: Pair) -> Value:
    """The image of its windows."""
    features = x.shape[3]
    rows, columns = size[0] // window[0], size[1] // window[1]
    x = builder.add("apart", Reshape(shape=(rows, columns, *window, features)), x)
    x = builder.add("rows_first", Transpose(permutation=(0, 1, 3, 2, 4, 5)), x)
    return builder.add("image", Reshape(shape=(*size, features)), x)
