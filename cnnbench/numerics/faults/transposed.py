"""Faults of transposed convolutions and of convolutions with a standardised weight."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cnnbench.numerics.faults.base import Fault, other_layer, other_weights
from cnnbench.numerics.faults.configurations import Surroundings, surrounded
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.layers.weight_standardization import ScaledWSConv

_IMAGE = Surroundings((4, 5, 5))
_PLAIN = surrounded(ConvTranspose(out_channels=4, kernel_size=3, stride=2, padding=1), _IMAGE)
_SAME = surrounded(ConvTranspose(out_channels=4, kernel_size=3, stride=2, padding="same"), _IMAGE)
_GROUPED = surrounded(ConvTranspose(out_channels=4, kernel_size=3, stride=2, groups=2), _IMAGE)
_STANDARDISED = surrounded(ScaledWSConv(out_channels=4, kernel_size=2), _IMAGE)


def _kernel_only(change: Any) -> Any:
    return other_weights(lambda layer, name, array: change(layer, array) if name == "weight" else array)


def _output_padding_front(layer: ConvTranspose) -> ConvTranspose:
    """What output_padding keeps at the end kept at the beginning instead."""
    pairs = zip(layer.borders(), layer.output_padding, strict=True)  # type: ignore[arg-type]
    moved = tuple((begin - more, end + more) for (begin, end), more in pairs)
    return replace(layer, padding=moved, output_padding=(0,) * len(moved))


def _swapped_ends(layer: ConvTranspose) -> ConvTranspose:
    return replace(layer, padding=tuple((end, begin) for begin, end in layer.borders()), output_padding=(0, 0))


def _reversed(field: str) -> Any:
    return lambda layer: replace(layer, **{field: tuple(reversed(getattr(layer, field)))})


def _groups_exchanged(layer: ConvTranspose, array: Any) -> Any:
    """The channels of the first group read the weights of the last."""
    parts = array.reshape(layer.groups, -1, *array.shape[1:])
    return np.ascontiguousarray(parts[::-1]).reshape(array.shape)


def _axes_exchanged(layer: ConvTranspose, array: Any) -> Any:
    return np.ascontiguousarray(array.swapaxes(0, 1))


def _unbiased(layer: ScaledWSConv, array: Any) -> Any:
    """A gain of sqrt((K - 1) / K) is what dividing by the unbiased variance comes to."""
    count = 4 * 2 * 2  # of _STANDARDISED
    return array * array.dtype.type(np.sqrt((count - 1) / count))


def _transposed(name: str, description: str, case: Any, operation: Any) -> Fault:
    return Fault(f"conv_transpose.{name}", "conv_transpose", description, case, operation=operation)


def _standardised(name: str, description: str, case: Any, operation: Any) -> Fault:
    return Fault(f"scaled_ws_conv.{name}", "scaled_ws_conv", description, case, operation=operation)


FAULTS = (
    _transposed(
        "output_padding_front",
        "output_padding at the beginning and not at the end",
        surrounded(ConvTranspose(out_channels=4, kernel_size=3, stride=2, padding=1, output_padding=1), _IMAGE),
        other_layer(_output_padding_front),
    ),
    _transposed(
        "kernel_flip",
        "the kernel flipped, as where it is written as a convolution with input dilation and the flip forgotten",
        _PLAIN,
        _kernel_only(lambda layer, array: np.flip(array, tuple(range(2, array.ndim))).copy()),
    ),
    _transposed(
        "cropped_other_side",
        "the odd row of SAME cropped at the beginning and not at the end (ONNX SAME_UPPER read as SAME_LOWER)",
        _SAME,
        other_layer(_swapped_ends),
    ),
    _transposed(
        "same_crops_half_kernel",
        "SAME taken as k // 2 on both sides: another shape (TensorFlow networks ported to PyTorch)",
        _SAME,
        other_layer(lambda layer: replace(layer, padding=tuple((k // 2, k // 2) for k in layer.kernel_size))),
    ),
    _transposed(
        "groups_swapped",
        "the groups' weights exchanged",
        _GROUPED,
        _kernel_only(_groups_exchanged),
    ),
    _transposed(
        "channels_swapped",
        "the weight used as (out, in) where it is (in, out) and both agree in size",
        _PLAIN,
        _kernel_only(_axes_exchanged),
    ),
    _transposed(
        "swapped_stride",
        "strides of height and width exchanged",
        surrounded(ConvTranspose(out_channels=4, kernel_size=3, stride=(2, 1), padding="same"), _IMAGE),
        other_layer(_reversed("stride")),
    ),
    _transposed(
        "dilation_ignored",
        "the kernel's dilation ignored where the crop hides it from the shape",
        surrounded(ConvTranspose(out_channels=4, kernel_size=3, dilation=2, padding=2), _IMAGE),
        other_layer(lambda layer: replace(layer, dilation=(1, 1), padding=((1, 1), (1, 1)))),
    ),
    _standardised(
        "unbiased_variance",
        "the variance divided by K - 1 (torch.var and torch.std by default) where K was meant",
        _STANDARDISED,
        other_weights(lambda layer, name, array: _unbiased(layer, array) if name == "gain" else array),
    ),
    _standardised(
        "no_gain",
        "the gain left out",
        _STANDARDISED,
        other_weights(lambda layer, name, array: np.ones_like(array) if name == "gain" else array),
    ),
    _standardised(
        "eps_added",
        "epsilon added to the variance (timm) where it is a lower limit of K times it (NFNets' own code)",
        surrounded(ScaledWSConv(out_channels=4, kernel_size=2, eps=1e-3), _IMAGE),
        other_layer(lambda layer: replace(layer, form="scaled_sum")),
    ),
    _standardised(
        "unscaled",
        "plain weight standardisation, without the division by the root of K",
        _STANDARDISED,
        other_layer(lambda layer: replace(layer, form="standard")),
    ),
)
