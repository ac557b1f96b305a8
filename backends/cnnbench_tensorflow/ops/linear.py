"""Matrix products: fully connected layers, products of activations, LeNet-5's radial basis output."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, OpResult, WeightLayout
from cnnbench.spec.layers import Linear, RadialBasis
from cnnbench.spec.layers.linear import MatMul
from cnnbench_tensorflow.framework import tf, wide
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


def _transposed(layer: Linear, name: str, array: Any, channels_last: bool) -> Any:
    return array.T if name == "weight" else array


IN_OUT = WeightLayout(_transposed, _transposed)


@OPERATIONS.register("linear", weight_layout=IN_OUT)
def linear(layer: Linear, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """x W + b, with W held as (I, O)."""
    x = inputs[0]
    leading = x.shape[:-1]
    rows = x if x.shape.rank == 2 else tf.reshape(x, (leading.num_elements(), x.shape[-1]))
    y = tf.linalg.matmul(rows, weights[0])
    if layer.bias:
        y = add_bias(y, weights[1])
    return OpResult((y if x.shape.rank == 2 else tf.reshape(y, (*leading, layer.out_features)),))


def add_bias(y: Any, bias: Any) -> Any:
    """y + bias along the last axis, by the op that TensorFlow fuses with the product before it.

    In bfloat16 that op's gradient on the CPU is accumulated in bfloat16 and stops growing (94 % lost after 8,000
    terms); a plain sum's is not.
    """
    return y + bias if y.dtype == tf.bfloat16 else tf.nn.bias_add(y, bias)


@OPERATIONS.register("matmul")
def matmul(layer: MatMul, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.linalg.matmul``, which transposes and broadcasts by itself."""
    a, b = inputs
    return OpResult((tf.linalg.matmul(a, b, transpose_a=layer.transpose_a, transpose_b=layer.transpose_b),))


@OPERATIONS.register("radial_basis")
def radial_basis(layer: RadialBasis, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """Squared distances to the prototypes, from differences: expanding the square would cancel."""
    x = inputs[0]
    difference = wide(x)[:, None, :] - wide(weights[0])[None]
    distance = tf.cast(tf.reduce_sum(tf.square(difference), axis=-1), x.dtype)
    return OpResult((-distance if layer.output == "logit" else distance,))
