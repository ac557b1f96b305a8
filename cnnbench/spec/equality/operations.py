"""What layers without weights do to labelled elements: most move them or map each; the rest makes new ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cnnbench.spec.equality.elements import NOTHING, ZERO, Labels, Ledger, joined, made, mapped
from cnnbench.spec.layers import Layer, Shape

Operation = Callable[[Ledger, Any, Sequence[Labels], Sequence[Shape]], list[Labels]]

_KEEPS_ZERO = {"relu", "relu6", "tanh", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "softsign", "mish"}
_KEEPS_ZERO |= {"hard_swish", "thresholded_relu"}
_POSITIVE = {"relu", "relu6", "sigmoid", "hard_sigmoid", "softplus", "thresholded_relu"}
_MAPS = _KEEPS_ZERO | _POSITIVE | {"clip", "elementwise", "scalar_affine", "scalar_power", "shrink"}
_IDENTITIES = {"dropout", "stochastic_depth", "stop_gradient"}  # at inference
_RESHAPES = {"flatten", "reshape", "squeeze", "unsqueeze"}
_PAIRS = {"add": True, "multiply": True, "subtract": False, "divide": False, "power": False, "minimum": True}
_PAIRS |= {"maximum": True}
_PAD_MODES = {"reflect": "reflect", "symmetric": "symmetric", "edge": "edge", "wrap": "wrap"}


def apply(ledger: Ledger, layer: Layer, inputs: Sequence[Labels], shapes: Sequence[Shape]) -> list[Labels]:
    """The labels of a layer's outputs.

    Args:
        ledger: Of both networks.
        layer: A resolved layer without weights.
        inputs: The labels of what it reads.
        shapes: Of its outputs.
    """
    kind = layer.kind
    if kind in _IDENTITIES:
        return [inputs[0]]
    if kind in _RESHAPES:
        return [inputs[0].reshape(shapes[0])]
    if kind in _MAPS:
        return [_map(ledger, layer, inputs[0])]
    if kind in _PAIRS:
        result = inputs[0]
        for other in inputs[1:]:
            result = joined(ledger, kind, result, other, commutes=_PAIRS[kind])
        return [result]
    if kind == "mean":
        total = inputs[0]
        for other in inputs[1:]:
            total = joined(ledger, "add", total, other, commutes=True)
        text = f"1/{len(inputs)} of"
        return [mapped(ledger, ("mean", len(inputs)), total, text, keeps_zero=True, positive=ledger.positive(total))]
    special = _SPECIAL.get(kind)
    if special is not None:
        return special(ledger, layer, inputs, shapes)
    return [made(ledger, (layer, i), inputs, shape, f"{kind}{described(layer)}") for i, shape in enumerate(shapes)]


def described(layer: Any) -> str:
    """The fields of a window, for messages."""
    parts = [
        f"{name.replace('_size', '')} {'x'.join(map(str, value))}"
        for name in ("kernel_size", "stride", "dilation")
        if isinstance(value := getattr(layer, name, None), tuple) and (name == "kernel_size" or set(value) != {1})
    ]
    return f"[{', '.join(parts)}]" if parts else ""


def _map(ledger: Ledger, layer: Any, labels: Labels) -> Labels:
    kind, fields = layer.kind, tuple(sorted(layer.fields().items(), key=str))
    if kind == "relu6":
        kind, fields = "clip", (("maximum", 6.0), ("minimum", 0.0))
    if kind == "leaky_relu" and layer.negative_slope == 0.0:
        kind, fields = "relu", ()
    if layer.kind == "scalar_affine" and (layer.scale, layer.shift) == (1.0, 0.0):
        return labels
    positive, keeps_zero = layer.kind in _POSITIVE, layer.kind in _KEEPS_ZERO
    if layer.kind == "clip":
        low = -math.inf if layer.minimum is None else layer.minimum
        high = math.inf if layer.maximum is None else layer.maximum
        if (low, high) == (0.0, math.inf):
            kind, fields = "relu", ()
        else:
            fields = (("maximum", float(high)), ("minimum", float(low)))
        positive, keeps_zero = low >= 0, low <= 0 <= high
    if layer.kind == "scalar_affine":
        keeps_zero = layer.shift == 0.0
    shown = ", ".join(f"{name} {value:g}" for name, value in fields if isinstance(value, float))
    text = "relu6" if kind == "clip" and shown == "maximum 6, minimum 0" else f"{kind}[{shown}]" if shown else kind
    return mapped(ledger, (kind, fields), labels, text, keeps_zero=keeps_zero, positive=positive)


def _transpose(ledger: Ledger, layer: Any, inputs: Sequence[Labels], shapes: Sequence[Shape]) -> list[Labels]:
    return [inputs[0].transpose(layer.permutation)]


def _concat(ledger: Ledger, layer: Any, inputs: Sequence[Labels], shapes: Sequence[Shape]) -> list[Labels]:
    return [np.concatenate(inputs, axis=layer.axis)]


def _slice(ledger: Ledger, layer: Any, inputs: Sequence[Labels], shapes: Sequence[Shape]) -> list[Labels]:
    axes = layer.axes if layer.axes is not None else range(len(layer.starts))
    steps = layer.steps if layer.steps is not None else (1,) * len(layer.starts)
    taken = [slice(None)] * inputs[0].ndim
    for axis, start, end, step in zip(axes, layer.starts, layer.ends, steps, strict=True):
        taken[axis] = slice(start, end if end is None or step > 0 or end >= 0 else None, step)
    found = inputs[0][tuple(taken)]
    if found.shape == tuple(shapes[0]):
        return [found]
    return [made(ledger, layer, inputs, shapes[0], "slice")]


def _split(ledger: Ledger, layer: Any, inputs: Sequence[Labels], shapes: Sequence[Shape]) -> list[Labels]:
    ends = np.cumsum([shape[layer.axis] for shape in shapes])[:-1]
    return list(np.split(inputs[0], ends, axis=layer.axis))


def _repeat(ledger: Ledger, layer: Any, inputs: Sequence[Labels], shapes: Sequence[Shape]) -> list[Labels]:
    if layer.kind == "expand":
        return [np.broadcast_to(inputs[0], shapes[0])]
    return [np.tile(inputs[0], [out // of for out, of in zip(shapes[0], inputs[0].shape, strict=True)])]


def _pad(ledger: Ledger, layer: Any, inputs: Sequence[Labels], shapes: Sequence[Shape]) -> list[Labels]:
    pairs = ((0, 0), *layer.padding)
    if layer.mode == "constant" and layer.value == 0:
        return [np.pad(inputs[0], pairs, constant_values=ZERO)]
    if layer.mode in _PAD_MODES:
        return [np.pad(inputs[0], pairs, mode=layer.mode)]
    return [made(ledger, layer, inputs, shapes[0], f"pad with {layer.constant:g}")]


def padded(labels: Labels, padding: Sequence[tuple[int, int]], value: int) -> Labels:
    """With constants around the spatial axes.

    Args:
        labels: (N, C, *spatial).
        padding: A pair (begin, end) for each spatial axis.
        value: The label of the constant.
    """
    return np.pad(labels, ((0, 0), (0, 0), *padding), constant_values=value) if any(map(any, padding)) else labels


def _max_pool(ledger: Ledger, layer: Any, inputs: Sequence[Labels], shapes: Sequence[Shape]) -> list[Labels]:
    labels = padded(inputs[0], layer.padding, NOTHING)
    if ledger.positive(labels):  # where nothing is negative, a zero is as good as nothing
        labels = np.where(labels == ZERO, NOTHING, labels)
    return [_window(ledger, "max_pool", layer, labels, shapes[0], ())]


def _avg_pool(ledger: Ledger, layer: Any, inputs: Sequence[Labels], shapes: Sequence[Shape]) -> list[Labels]:
    counts = layer.count_include_pad or not any(map(any, layer.padding))
    labels = padded(inputs[0], layer.padding, ZERO) if counts else inputs[0]
    own = () if counts else ("of what is not padding", layer.padding)
    if tuple(layer.kernel_size) == labels.shape[2:] and layer.divisor is None and counts:
        return [_reduced(ledger, "mean", labels, tuple(range(2, labels.ndim))).reshape(shapes[0])]
    return [_window(ledger, "avg_pool", layer, labels, shapes[0], (*own, layer.divisor))]


def _window(ledger: Ledger, kind: str, layer: Any, labels: Labels, shape: Shape, more: tuple[Any, ...]) -> Labels:
    dilation = getattr(layer, "dilation", (1,) * len(layer.kernel_size))
    fields = (tuple(layer.kernel_size), tuple(layer.stride), tuple(dilation), tuple(shape), *more)
    text = f"{kind}{described(layer)}" + (" without its padding" if more and more[0] else "")
    return made(ledger, (kind, fields), [labels], shape, text)


def _reduce(ledger: Ledger, layer: Any, inputs: Sequence[Labels], shapes: Sequence[Shape]) -> list[Labels]:
    """Global pools too."""
    rank = inputs[0].ndim
    function, axes = {
        "global_avg_pool": ("mean", tuple(range(2, rank))),
        "global_max_pool": ("max", tuple(range(2, rank))),
    }.get(layer.kind) or (layer.function, tuple(axis % rank for axis in layer.axes or range(1, rank)))
    return [_reduced(ledger, function, inputs[0], axes).reshape(shapes[0])]


def _reduced(ledger: Ledger, function: str, labels: Labels, axes: tuple[int, ...]) -> Labels:
    kept = [axis for axis in range(labels.ndim) if axis not in axes]
    if all(labels.shape[axis] == 1 for axis in axes) and function in ("mean", "max", "min", "sum"):
        return labels.reshape([labels.shape[axis] for axis in kept])
    moved = labels.transpose((*kept, *axes))
    shape = tuple(labels.shape[axis] for axis in kept)
    return made(ledger, ("reduce", function, len(axes)), [moved], shape, f"{function} over positions")


def _adaptive(ledger: Ledger, layer: Any, inputs: Sequence[Labels], shapes: Sequence[Shape]) -> list[Labels]:
    if set(shapes[0][2:]) == {1}:
        return [_reduced(ledger, "mean", inputs[0], tuple(range(2, inputs[0].ndim))).reshape(shapes[0])]
    return [made(ledger, ("adaptive_avg_pool", shapes[0]), inputs, shapes[0], "adaptive_avg_pool")]


def _along(ledger: Ledger, layer: Any, inputs: Sequence[Labels], shapes: Sequence[Shape]) -> list[Labels]:
    """Softmax and its like, along one axis."""
    moved = np.moveaxis(inputs[0], layer.axis, -1)
    return [np.moveaxis(made(ledger, layer.kind, [moved], moved.shape, layer.kind), -1, layer.axis)]


_SPECIAL: dict[str, Operation] = {
    "transpose": _transpose,
    "concat": _concat,
    "slice": _slice,
    "split": _split,
    "expand": _repeat,
    "tile": _repeat,
    "pad": _pad,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "reduce": _reduce,
    "global_avg_pool": _reduce,
    "global_max_pool": _reduce,
    "adaptive_avg_pool": _adaptive,
    "softmax": _along,
    "log_softmax": _along,
}
