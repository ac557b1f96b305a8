"""Fixed tables that attention and embeddings need: sinusoids of positions, masks of shifted windows, offsets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.base import Example, Layer, Shapes, require_int, require_one_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Table(Layer):
    """An array that the layer's fields determine. Its one input only says the type and the device."""

    layout_rule = "canonical"
    differentiable = False
    no_gradient_to = (0,)

    def shape(self) -> Shape:
        """Of the table, with a batch axis of size 1 where it is to be added to values of images."""
        raise NotImplementedError(f"{type(self).__name__} has no shape")

    def values(self) -> Array:
        """The table in float64; it is computed once and is not to be written into."""
        return _values(self)

    def compute(self) -> Array:
        """The table in float64, computed anew."""
        raise NotImplementedError(f"{type(self).__name__} has no values")

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return (self.shape(),)


@lru_cache(maxsize=64)
def _values(layer: Table) -> Array:
    table = layer.compute()
    table.flags.writeable = False
    return table


@dataclass(frozen=True, kw_only=True)
class SinusoidTable(Table, kind="sinusoid_table"):
    """sin(p w_i) and cos(p w_i) for positions p = 0, 1 ... and wavelengths w_i = max_period^(-i / n), i = 0 ... n - 1.

    Args:
        length: Of positions. features: D = 2 n, even.
        max_period: 10,000 in the paper.
        arrangement: ``"interleaved"``: sin and cos of a frequency side by side (the paper), or ``"halves"``: all
            sines, then all cosines (MAE; tensor2tensor too, with frequencies that end at 1 / max_period).

    Shapes:
        any -> (1, length, features). Source: Vaswani et al. (2017), section 3.5.
    """

    length: int
    features: int
    max_period: float = 10000.0
    arrangement: Literal["interleaved", "halves"] = "interleaved"

    example = Example((1, 4, 6, 6), length=5, features=6)

    def resolve(self, inputs: Shapes) -> Self:
        require_int(self.length, "length", least=1)
        require_even(self.features, "features")
        require_one_of(self.arrangement, "arrangement", ("interleaved", "halves"))
        if not self.max_period > 0:
            raise FieldError("max_period", received=self.max_period, expected="a positive number")
        return self

    def shape(self) -> Shape:
        return (1, self.length, self.features)

    def compute(self) -> Array:
        import numpy as np

        half = self.features // 2
        frequencies = self.max_period ** (-np.arange(half) / half)
        angles = np.arange(self.length)[:, None] * frequencies
        pair = np.stack((np.sin(angles), np.cos(angles)), axis=2 if self.arrangement == "interleaved" else 1)
        return pair.reshape(self.shape())


@dataclass(frozen=True, kw_only=True)
class ConstantTable(Table, kind="constant_table"):
    """Numbers that are written down, such as the weights of classes.

    Args:
        entries: The numbers.

    Shapes:
        any -> (len(entries),).
    """

    entries: tuple[float, ...]

    example = Example((1, 4, 6, 6), entries=(1.0, 0.5, 2.0))

    def resolve(self, inputs: Shapes) -> Self:
        if not self.entries:
            raise FieldError("entries", "are not valid", received=self.entries, expected="one number or more")
        return self

    def shape(self) -> Shape:
        return (len(self.entries),)

    def compute(self) -> Array:
        import numpy as np

        return np.array(self.entries, np.float64)


@dataclass(frozen=True, kw_only=True)
class CausalMask(Table, kind="causal_mask"):
    """0 where a query may see a key, at its own position or before, ``masked`` where not.

    Args:
        length: T. masked: Added to a logit; at -30,000 its weight is 0 in every precision, and float16 still holds it
            (an infinity would do as much, but has no error bound).

    Shapes:
        any -> (1, 1, T, T): query, key.
    """

    length: int
    masked: float = -30000.0

    example = Example((1, 4, 6, 6), length=4)

    def resolve(self, inputs: Shapes) -> Self:
        require_int(self.length, "length", least=1)
        return self

    def shape(self) -> Shape:
        return (1, 1, self.length, self.length)

    def compute(self) -> Array:
        import numpy as np

        return np.where(np.tri(self.length, dtype=bool), 0.0, self.masked).reshape(self.shape())


@dataclass(frozen=True, kw_only=True)
class ShiftedWindowMask(Table, kind="shifted_window_mask"):
    """0 where two positions of a window were neighbours before the image was rolled, ``masked`` where they were not.

    Args:
        size: Of the rolled image. window_size: of a window, a divisor of ``size``. shift: by how much it was rolled.
        masked: Added to a logit: -100 in the authors' code and in torchvision.

    Shapes:
        any -> (1, windows, 1, T, T) with T = prod(window_size), to be added to logits (N, windows, heads, T, T).
        Source: Liu et al., "Swin transformer" (2021), section 3.2 and figure 4.
    """

    size: tuple[int, int]
    window_size: tuple[int, int]
    shift: tuple[int, int]
    masked: float = -100.0

    example = Example((1, 4, 6, 6), size=(4, 6), window_size=(2, 3), shift=(1, 1))

    def resolve(self, inputs: Shapes) -> Self:
        for n, w, s in zip(self.size, self.window_size, self.shift, strict=True):
            if w < 1 or n < 1 or n % w or not 0 <= s < w:
                raise SpecError(
                    "size, window_size and shift do not fit",
                    received=f"{self.size}, {self.window_size}, {self.shift}",
                    expected="whole windows, and a shift from 0 to below the window's size",
                )
        return self

    def shape(self) -> Shape:
        rows, columns = (n // w for n, w in zip(self.size, self.window_size, strict=True))
        tokens = self.window_size[0] * self.window_size[1]
        return (1, rows * columns, 1, tokens, tokens)

    def compute(self) -> Array:
        import numpy as np

        height, width = self.window_size
        rows, columns = (
            # The last window holds the rows that came from the other end, after those that did not.
            np.where(np.arange(n) < n - w, 0, np.where(np.arange(n) < n - s, 1, 2)) if s else np.zeros(n, int)
            for n, w, s in zip(self.size, self.window_size, self.shift, strict=True)
        )
        region = rows[:, None] * 3 + columns
        count = (self.size[0] // height, self.size[1] // width)
        tokens = region.reshape(count[0], height, count[1], width).transpose(0, 2, 1, 3).reshape(-1, height * width)
        apart = tokens[:, :, None] != tokens[:, None, :]
        return np.where(apart, self.masked, 0.0).reshape(self.shape())


@dataclass(frozen=True, kw_only=True)
class RelativeOffsets(Table, kind="relative_offsets"):
    """(dx, dy, dx^2 + dy^2) from each patch of a grid to each other: dx = column(key) - column(query), dy likewise.

    Args:
        size: Rows and columns of the grid; patches are counted row by row.

    Shapes:
        any -> (1, T, T, 3) with T = prod(size): query, key. Source: d'Ascoli et al., "ConViT" (2021), equation 6; the
        order of the three is that of the authors' code.
    """

    size: tuple[int, int]

    example = Example((1, 4, 6, 6), size=(2, 3))

    def resolve(self, inputs: Shapes) -> Self:
        for n in self.size:
            require_int(n, "size", least=1)
        return self

    def shape(self) -> Shape:
        tokens = self.size[0] * self.size[1]
        return (1, tokens, tokens, 3)

    def compute(self) -> Array:
        import numpy as np

        row, column = np.divmod(np.arange(self.size[0] * self.size[1]), self.size[1])
        dx, dy = (p[None, :] - p[:, None] for p in (column, row))
        return np.stack((dx, dy, dx * dx + dy * dy), axis=2)[None].astype(np.float64)


def require_even(features: int, field: str) -> None:
    """Raises SpecError unless the number is even and positive: sines and cosines come in pairs."""
    if require_int(features, field, least=2) % 2:
        raise FieldError(field, received=features, expected="an even number")


def relative_position_index(window: tuple[int, int]) -> tuple[int, ...]:
    """For each pair (query, key) of a window's positions, row by row, the row of Swin's table of biases.

    (dy + h - 1) (2 w - 1) + (dx + w - 1) with (dy, dx) = query - key.

    >>> relative_position_index((1, 2))
    (1, 0, 2, 1)
    """
    height, width = window
    positions = [(y, x) for y in range(height) for x in range(width)]
    return tuple(
        (qy - ky + height - 1) * (2 * width - 1) + qx - kx + width - 1 for qy, qx in positions for ky, kx in positions
    )
