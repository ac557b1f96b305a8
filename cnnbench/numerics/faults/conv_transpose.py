"""Faults of transposed convolutions: crops, kernels, groups, strides, dilations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cnnbench.numerics.faults.engine.base import Fault, dropped, kernel_only, other_layer, reversed_field
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.spec.layers.conv_transpose import ConvTranspose

_IMAGE = SuspectNetwork((4, 5, 5))
_PLAIN = surrounded(ConvTranspose(out_channels=4, kernel_size=3, stride=2, padding=1), _IMAGE)
_SAME = surrounded(ConvTranspose(out_channels=4, kernel_size=3, stride=2, padding="same"), _IMAGE)
_GROUPED = surrounded(ConvTranspose(out_channels=4, kernel_size=3, stride=2, groups=2), _IMAGE)


def _output_padding_front(layer: ConvTranspose) -> ConvTranspose:
    """What output_padding keeps at the end kept at the beginning instead."""
    pairs = zip(layer.borders(), layer.output_padding, strict=True)  # type: ignore[arg-type]
    moved = tuple((begin - more, end + more) for (begin, end), more in pairs)
    return replace(layer, padding=moved, output_padding=(0,) * len(moved))


def _swapped_ends(layer: ConvTranspose) -> ConvTranspose:
    return replace(layer, padding=tuple((end, begin) for begin, end in layer.borders()), output_padding=(0, 0))


def _groups_exchanged(layer: ConvTranspose, array: Any) -> Any:
    """The channels of the first group read the weights of the last."""
    parts = array.reshape(layer.groups, -1, *array.shape[1:])
    return np.ascontiguousarray(parts[::-1]).reshape(array.shape)


def _axes_exchanged(layer: ConvTranspose, array: Any) -> Any:
    return np.ascontiguousarray(array.swapaxes(0, 1))


def _transposed(name: str, description: str, case: Any, operation: Any) -> Fault:
    return Fault(f"conv_transpose.{name}", "conv_transpose", description, case, operation=operation)


FAULTS = (
    *dropped(ConvTranspose(out_channels=4, kernel_size=3), _PLAIN, {"bias": "bias"}),
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
        kernel_only(lambda layer, array: np.flip(array, tuple(range(2, array.ndim))).copy()),
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
        kernel_only(_groups_exchanged),
    ),
    _transposed(
        "channels_swapped",
        "the weight used as (out, in) where it is (in, out) and both agree in size",
        _PLAIN,
        kernel_only(_axes_exchanged),
    ),
    _transposed(
        "swapped_stride",
        "strides of height and width exchanged",
        surrounded(ConvTranspose(out_channels=4, kernel_size=3, stride=(2, 1), padding="same"), _IMAGE),
        reversed_field("stride"),
    ),
    _transposed(
        "dilation_ignored",
        "the kernel's dilation ignored where the crop hides it from the shape",
        surrounded(ConvTranspose(out_channels=4, kernel_size=3, dilation=2, padding=2), _IMAGE),
        other_layer(lambda layer: replace(layer, dilation=(1, 1), padding=((1, 1), (1, 1)))),
    ),
)
