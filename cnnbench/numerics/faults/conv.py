"""Faults of convolutions: padding, axes, kernels, groups, precision, single weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cnnbench.execution.operations import Call
from cnnbench.numerics.faults.engine.base import (
    Arrays,
    Fault,
    kernel_only,
    other_layer,
    other_operands,
    other_outputs,
    other_weights,
    reversed_field,
    rounded,
    swapped_padding,
)
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded, suspect_fault
from cnnbench.spec.composites.conv import DepthwiseSeparableConv
from cnnbench.spec.layers import Conv
from cnnbench.spec.layers.windows import require_pairs

_IMAGE = SuspectNetwork((4, 8, 8))
_PLAIN = surrounded(Conv(out_channels=4, kernel_size=3, padding=1), _IMAGE)
_SAME = surrounded(Conv(out_channels=4, kernel_size=3, stride=2, padding="same"), _IMAGE)
_LONG = surrounded(Conv(out_channels=8, kernel_size=3, padding=1), SuspectNetwork((64, 6, 6)))


def _even_pairs(layer: Conv) -> Conv:
    halves = [(sum(pair) + 1) // 2 for pair in require_pairs(layer.padding)]
    return replace(layer, padding=tuple((half, half) for half in halves))


def _interleaved(layer: Conv, array: Any) -> Any:
    """Output channel g O/G + i put at i G + g."""
    parts = array.reshape(layer.groups, -1, *array.shape[1:])
    return np.ascontiguousarray(parts.swapaxes(0, 1)).reshape(array.shape)


def _one_wrong(layer: Conv, array: Any) -> Any:
    changed = np.array(array)
    changed[(-1,) * changed.ndim] *= 1 + 2e-5
    return changed


def _narrow_inputs(bits: int) -> Any:
    def change(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
        return (rounded(inputs[0], bits),), weights, state, call

    return other_operands(change)


def _dilation_as_stride(layer: Conv) -> Conv:
    """Taps one apart and outputs a dilation apart; padding at the end makes the shape the same."""
    return replace(layer, stride=layer.dilation, dilation=(1, 1), padding=((0, 1), (0, 1)))


def _depthwise_flipped(layer: Conv, name: str, array: Any) -> Any:
    return np.flip(array, (2, 3)).copy() if name == "weight" and layer.groups > 1 else array


FAULTS = (
    Fault(
        "conv.asymmetric_same_padding",
        "conv",
        "the odd row of SAME padding at the beginning and not at the end (TensorFlow networks ported to Caffe, ONNX)",
        _SAME,
        operation=swapped_padding,
    ),
    Fault(
        "conv.symmetric_same_padding",
        "conv",
        "SAME padding of a strided convolution taken as k // 2 on both sides (TensorFlow networks ported to PyTorch)",
        _SAME,
        operation=other_layer(_even_pairs),
    ),
    Fault(
        "conv.kernel_flip",
        "conv",
        "true convolution for cross-correlation (Theano, MatConvNet and SciPy flip kernels)",
        _PLAIN,
        operation=kernel_only(lambda layer, array: np.flip(array, tuple(range(2, array.ndim))).copy()),
    ),
    Fault(
        "conv.swapped_stride",
        "conv",
        "strides of height and width exchanged",
        surrounded(Conv(out_channels=4, kernel_size=3, stride=(2, 3)), SuspectNetwork((4, 6, 6))),
        operation=reversed_field("stride"),
    ),
    Fault(
        "conv.swapped_dilation",
        "conv",
        "dilations of height and width exchanged",
        surrounded(Conv(out_channels=4, kernel_size=3, stride=3, dilation=(1, 2)), _IMAGE),
        operation=reversed_field("dilation"),
    ),
    Fault(
        "conv.swapped_kernel_axes",
        "conv",
        "a square kernel's height and width exchanged (weights imported from a column-major layout)",
        _PLAIN,
        operation=kernel_only(lambda layer, array: np.ascontiguousarray(array.swapaxes(2, 3))),
    ),
    Fault(
        "conv.swapped_channels",
        "conv",
        "input and output channels of the weight exchanged (a transposed layout where both counts agree)",
        _PLAIN,
        operation=kernel_only(lambda layer, array: np.ascontiguousarray(array.swapaxes(0, 1))),
    ),
    Fault(
        "conv.interleaved_groups",
        "conv",
        "output channels of a grouped convolution ordered across groups and not within them",
        surrounded(Conv(out_channels=4, kernel_size=3, groups=2), _IMAGE),
        operation=kernel_only(_interleaved),
    ),
    Fault(
        "conv.dropped_bias",
        "conv",
        "the bias forgotten (a convolution taken for one that a batch norm follows)",
        _PLAIN,
        operation=other_weights(lambda layer, name, array: array * 0 if name == "bias" else array),
    ),
    Fault(
        "conv.bfloat16_operands",
        "conv",
        "inputs cut to 8 bits where float32 was asked for (a fast-math mode of CPUs and TPUs)",
        _LONG,
        operation=_narrow_inputs(8),
    ),
    Fault(
        "conv.tf32_operands",
        "conv",
        "inputs cut to 11 bits where float32 was asked for (TF32, on by default in frameworks of 2020 to 2022)",
        _LONG,
        operation=_narrow_inputs(11),
    ),
    Fault(
        "conv.bfloat16_accumulator",
        "conv",
        "sums held in 8 bits where float32 was asked for",
        _LONG,
        operation=other_outputs(lambda layer, inputs, outputs, call: (rounded(outputs[0], 8),)),
    ),
    Fault(
        "conv.one_wrong_weight",
        "conv",
        "one weight wrong in its fifth digit (a damaged file): no bound sees it, equality on integers does",
        _PLAIN,
        check="exact",
        operation=kernel_only(_one_wrong),
    ),
    Fault(
        "conv.rescaled_weights",
        "conv",
        "every weight 1e-5 too large (weights quantised and restored)",
        _LONG,
        check="exact",
        operation=kernel_only(lambda layer, array: array * array.dtype.type(1 + 1e-5)),
    ),
    suspect_fault(
        "conv.true_convolution",
        "cross-correlation where the flipped kernel of true convolution was asked for",
        Conv(out_channels=4, kernel_size=3, padding=1, flip_kernel=True),
        other_weights(lambda layer, name, array: layer.correlated(array) if name == "weight" else array),
        _IMAGE,
    ),
    suspect_fault(
        "conv.dilation_as_stride",
        "a dilation (atrous rate) used as a stride",
        Conv(out_channels=4, kernel_size=3, dilation=2),
        other_layer(_dilation_as_stride),
        _IMAGE,
    ),
    suspect_fault(
        "conv.swapped_padding_ends",
        "explicit padding before and after an axis exchanged",
        Conv(out_channels=4, kernel_size=3, padding=((0, 1), (0, 1))),
        swapped_padding,
        _IMAGE,
    ),
    suspect_fault(
        "conv.same_upper_for_lower",
        "the odd row of SAME_LOWER padding at the end",
        Conv(out_channels=4, kernel_size=2, padding="same_lower"),
        swapped_padding,
        _IMAGE,
    ),
    Fault(
        "depthwise_separable_conv.kernel_flip",
        "conv",
        "true convolution in the depthwise part",
        surrounded(DepthwiseSeparableConv(out_channels=5, kernel_size=3, padding=1), _IMAGE),
        node="suspect.depthwise",
        operation=other_weights(_depthwise_flipped),
    ),
)
