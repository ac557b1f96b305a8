"""Faults of pooling, shapes, linear layers, activations, merging and dropout."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, LayoutChange, Operation, Operations, OpResult
from cnnbench.numerics.faults.base import (
    Arrays,
    Fault,
    other_layer,
    other_operands,
    other_outputs,
    other_weights,
)
from cnnbench.numerics.faults.configurations import Surroundings, surrounded
from cnnbench.spec.layers import (
    Add,
    AvgPool,
    Concat,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Pad,
    RadialBasis,
    ReLU,
    Softmax,
    Tanh,
)

_IMAGE = Surroundings((4, 8, 8))
_TABLE = Surroundings((6,))


def zero_padding(right: Operation, table: Operations) -> Operation:
    """Zeros put around the input before the maximum is taken."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        around = Pad(padding=((0, 0), *layer.padding))
        padded = table["pad"].forward(around, inputs, (), (), call).outputs
        bare = replace(layer, padding=tuple((0, 0) for _ in layer.padding))
        return right.forward(bare, padded, weights, state, call)

    return Operation(forward, right.backward, right.weight_layout)


def _channels_last_order(right: Operation, table: Operations) -> Operation:
    """The channel axis moved to the end before values are put in a row."""
    change = table["layout_change"]
    last = LayoutChange(to="channels_last")

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        moved = change.forward(last, inputs, (), (), call)
        result = right.forward(layer, moved.outputs, weights, state, call)
        return result._replace(saved=(result.saved, moved.saved))

    if right.backward is None or change.backward is None:
        return Operation(forward, None, right.weight_layout)
    flat_backward, change_backward = right.backward, change.backward

    def backward(layer: Any, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
        inner = flat_backward(layer, saved[0], gradients, weights, call).inputs
        return change_backward(last, saved[1], inner, (), call)

    return Operation(forward, backward, right.weight_layout)


def _first_twice(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    return (inputs[0], *inputs[:-1]), weights, state, call


def _last_first(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    return tuple(reversed(inputs)), weights, state, call


def _summed(layer: Any, inputs: Arrays, outputs: Arrays, call: Call) -> Arrays:
    shape = tuple(inputs[0].shape)
    channel = call.channel_axis(len(shape))
    return (outputs[0] * float(math.prod(n for axis, n in enumerate(shape) if axis not in (0, channel))),)


def _unscaled(layer: Any, inputs: Arrays, outputs: Arrays, call: Call) -> Arrays:
    return (outputs[0] * (1 - layer.p) if call.training else outputs[0],)


FAULTS = (
    Fault(
        "max_pool.zero_padding",
        "max_pool",
        "padding counted as zeros, which win over negative values (early Caffe and TensorFlow ports)",
        surrounded(MaxPool(kernel_size=3, stride=2, padding=1), Surroundings((4, 8, 8), negative=True)),
        operation=zero_padding,
    ),
    Fault(
        "max_pool.ceil_mode",
        "max_pool",
        "output size rounded up (Caffe) where rounding down was asked for: another shape",
        surrounded(MaxPool(kernel_size=3, stride=2), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, ceil_mode=not layer.ceil_mode)),
    ),
    Fault(
        "max_pool.swapped_padding",
        "max_pool",
        "the odd row of SAME padding at the beginning and not at the end",
        surrounded(MaxPool(kernel_size=3, stride=2, padding="same"), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, padding=tuple((e, b) for b, e in layer.padding))),
    ),
    Fault(
        "avg_pool.count_include_pad",
        "avg_pool",
        "padded positions left out of the divisor (TensorFlow) where they were to count (PyTorch)",
        surrounded(AvgPool(kernel_size=3, stride=2, padding=1), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, count_include_pad=not layer.count_include_pad)),
    ),
    Fault(
        "global_avg_pool.sum",
        "global_avg_pool",
        "the sum over positions for their mean",
        surrounded(GlobalAvgPool(), _IMAGE),
        operation=other_outputs(_summed),
    ),
    Fault(
        "flatten.channels_last_order",
        "flatten",
        "values put in a row channels-last, so that the linear layer after it meets others (Keras networks ported)",
        surrounded(Flatten(), Surroundings((4, 3, 3))),
        operation=_channels_last_order,
    ),
    Fault(
        "linear.transposed",
        "linear",
        "the weight used as [in, out] where it is [out, in] and both agree in size",
        surrounded(Linear(out_features=6), _TABLE),
        operation=other_weights(lambda layer, name, a: np.ascontiguousarray(a.T) if name == "weight" else a),
    ),
    Fault(
        "radial_basis.sign",
        "radial_basis",
        "distances given where their negatives were to be logits",
        surrounded(RadialBasis(out_features=5, output="logit"), _TABLE),
        operation=other_layer(lambda layer: replace(layer, output="distance")),
    ),
    Fault(
        "softmax.axis",
        "softmax",
        "softmax over the last axis and not over channels",
        surrounded(Softmax(), Surroundings((4, 5, 5))),
        operation=other_layer(lambda layer: replace(layer, axis=-1)),
    ),
    Fault(
        "tanh.unscaled",
        "tanh",
        "plain tanh where LeCun's 1.7159 tanh(2/3 x) was asked for",
        surrounded(Tanh(input_scale=2 / 3, output_scale=1.7159), _IMAGE),
        operation=other_layer(lambda layer: Tanh()),
    ),
    Fault(
        "relu.missing",
        "relu",
        "an activation left out",
        surrounded(ReLU(), _IMAGE),
        operation=other_outputs(lambda layer, inputs, outputs, call: (inputs[0],)),
    ),
    Fault(
        "add.missing_shortcut",
        "add",
        "the residual branch added to itself and not to the shortcut",
        surrounded(Add(), replace(_IMAGE, inputs=2)),
        operation=other_operands(_first_twice),
    ),
    Fault(
        "concat.reversed",
        "concat",
        "branches joined in reverse order",
        surrounded(Concat(), replace(_IMAGE, inputs=2)),
        operation=other_operands(_last_first),
    ),
    Fault(
        "pad.swapped",
        "pad",
        "padding given as (end, begin)",
        surrounded(Pad(padding=((0, 0), (0, 1), (0, 1))), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, padding=tuple((e, b) for b, e in layer.padding))),
    ),
    Fault(
        "dropout.not_inverted",
        "dropout",
        "kept values not scaled by 1 / (1 - p) at training (dropout as first published)",
        surrounded(Dropout(p=0.3), _IMAGE),
        operation=other_outputs(_unscaled),
    ),
    Fault(
        "dropout.keep_probability",
        "dropout",
        "p taken as the probability of keeping (TensorFlow 1's keep_prob)",
        surrounded(Dropout(p=0.3), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, p=1 - layer.p)),
    ),
)
