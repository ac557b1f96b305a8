"""What convolution and pooling share: one axis seen as two, TensorFlow's padding names, shifted views of a window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Literal, NamedTuple

from cnnbench.spec.layers import Window
from cnnbench.spec.layers.windows import PaddingPairs, effective_size, require_pairs, same_padding
from cnnbench_tensorflow.framework import tf


class WindowGeometry(NamedTuple):
    """A sliding window over at least two spatial axes.

    Args:
        size: Of the input, without padding.
        padding: As the layer declares it. outputs: the number of windows, for each axis.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: PaddingPairs
    outputs: tuple[int, ...]

    @property
    def dilated(self) -> bool:
        """Whether any axis has a dilation that matters."""
        return any(d > 1 and k > 1 for d, k in zip(self.dilation, self.kernel, strict=True))

    def covering(self) -> PaddingPairs:
        """The padding with its end as long as the last window needs, which ``ceil_mode`` may put further out."""
        pairs = []
        for axis, (begin, _) in enumerate(self.padding):
            extent = effective_size(self.kernel[axis], self.dilation[axis])
            end = (self.outputs[axis] - 1) * self.stride[axis] + extent - self.size[axis] - begin
            pairs.append((begin, max(end, 0)))
        return tuple(pairs)

    def named_padding(self) -> Literal["VALID", "SAME"] | None:
        """TensorFlow's name of the padding that the windows need, or None where it must be spelt out."""
        needed = self.covering()
        if not any(map(any, needed)):
            return "VALID"
        axes = zip(self.size, self.kernel, self.stride, self.dilation, strict=True)
        same = tuple(same_padding(*axis, lower=False) for axis in axes)
        counts = tuple(-(-size // s) for size, s in zip(self.size, self.stride, strict=True))
        return "SAME" if same == needed and counts == self.outputs else None


def geometry(layer: Any, x: Any, outputs: Sequence[int]) -> tuple[WindowGeometry, Any]:
    """The window of a resolved layer on an image (N, *spatial, C), and the image with one axis held as two.

    Args:
        layer: Resolved.
        x: (N, *spatial, C).
        outputs: The output's spatial sizes.
    """
    window: Window = layer.window()
    size = tuple(x.shape[1:-1])
    found = WindowGeometry(
        size, window.kernel_size, window.stride, window.dilation, tuple(require_pairs(layer.padding)), tuple(outputs)
    )
    if len(size) > 1:
        return found, x
    lifted = WindowGeometry(
        (1, *size),
        (1, *found.kernel),
        (1, *found.stride),
        (1, *found.dilation),
        ((0, 0), *found.padding),
        (1, *outputs),
    )
    return lifted, tf.expand_dims(x, 1)


def output_sizes(layer: Any, x: Any) -> tuple[int, ...]:
    """The spatial sizes of a layer's output for an image (N, *spatial, C)."""
    return tuple(layer.output_shapes(((x.shape[0], x.shape[-1], *x.shape[1:-1]),))[0][2:])


def pad_image(x: Any, pairs: PaddingPairs, value: float = 0.0) -> Any:
    """The image with a border on its spatial axes; itself where the border is empty.

    Args:
        x: (N, *spatial, C).
        pairs: (begin, end) of each spatial axis, none negative.
        value: Of the border.
    """
    if not any(map(any, pairs)):
        return x
    return tf.pad(x, ((0, 0), *pairs, (0, 0)), constant_values=tf.constant(value, x.dtype))


def crop_image(x: Any, pairs: PaddingPairs) -> Any:
    """The image without these numbers of rows at the beginning and end of each spatial axis; negative ones pad."""
    kept = [slice(max(begin, 0), size - max(end, 0)) for size, (begin, end) in zip(x.shape[1:-1], pairs, strict=True)]
    inner = x[(slice(None), *kept, slice(None))]
    return pad_image(inner, tuple((max(-begin, 0), max(-end, 0)) for begin, end in pairs))


def nothing(layer: Any, x: Any) -> Any:
    """The output for no images: many of TensorFlow's kernels give garbage for them, or abort the process."""
    _, channels, *sizes = layer.output_shapes(((0, x.shape[-1], *x.shape[1:-1]),))[0]
    return tf.zeros((0, *sizes, channels), x.dtype)


def shifted_views(padded: Any, window: WindowGeometry) -> Iterator[Any]:
    """For each position in the window, in row-major order, the values there of every window: (N, *outputs, C)."""
    for offset in product(*map(range, window.kernel)):
        begin = [o * d for o, d in zip(offset, window.dilation, strict=True)]
        slices = [
            slice(b, b + (n - 1) * s + 1, s) for b, n, s in zip(begin, window.outputs, window.stride, strict=True)
        ]
        yield padded[(slice(None), *slices, slice(None))]


def ones_around(values: Sequence[int]) -> list[int]:
    """Values for the spatial axes with a one for the batch and the channel axis, as TensorFlow's arguments want."""
    return [1, *values, 1]
