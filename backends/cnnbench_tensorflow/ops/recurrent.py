"""Recurrent layers: the products with the input in one, then a while loop over the steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnbench.execution.operations import Call, OpResult, WeightLayout
from cnnbench.spec.layers.recurrent import GRU, LSTM, RNN
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.gates import gate_value
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


def _transposed(layer: Any, name: str, array: Any, channels_last: bool) -> Any:
    return array.T if array.ndim == 2 else array


GATES_LAST = WeightLayout(_transposed, _transposed)


def _projected(x: Any, weight: Any, biases: Values) -> Any:
    """x W + biases for all steps at once, as (T, N, gates)."""
    batch, steps, features = x.shape
    rows = tf.reshape(tf.transpose(x, (1, 0, 2)), (steps * batch, features))
    product = tf.linalg.matmul(rows, weight)
    for bias in biases:
        product = product + bias
    return tf.reshape(product, (steps, batch, weight.shape[1]))


def _starts(layer: LSTM | GRU | RNN, inputs: Values, count: int) -> Values:
    x = inputs[0]
    return inputs[1:] or (tf.zeros((x.shape[0], layer.hidden_size), x.dtype),) * count


def _loop(
    layer: LSTM | GRU | RNN, step: Callable[[Any, Values], Values], starts: Values, steps: Any
) -> tuple[Any, Values]:
    """(h of every step as (N, T, H), the carry after the last); the carry's first item is h.

    The number of steps is static, which XLA needs for the gradient's stack.
    """
    count = steps.shape[0]
    source = tf.TensorArray(steps.dtype, count, element_shape=steps.shape[1:]).unstack(steps)
    target = tf.TensorArray(steps.dtype, count, element_shape=starts[0].shape)

    def body(i: Any, written: Any, *carry: Any) -> Values:
        position = count - 1 - i if layer.reverse else i
        after = step(source.read(position), carry)
        return (i + 1, written.write(position, after[0]), *after)

    _, written, *carry = tf.while_loop(
        lambda i, *rest: i < count,
        body,
        (tf.constant(0), target, *starts),
        maximum_iterations=count,
    )
    return tf.transpose(written.stack(), (1, 0, 2)), tuple(carry)


@OPERATIONS.register("lstm", weight_layout=GATES_LAST)
def lstm(layer: LSTM, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """c <- sigmoid(f) c + sigmoid(i) tanh(g); h <- sigmoid(o) tanh(c)."""
    w_ih, w_hh, *biases = weights
    outer, cell, shown = layer.gates()

    def step(a: Any, carry: Values) -> Values:
        h, c = carry
        gates = dict(zip(layer.gate_order, tf.split(a + tf.linalg.matmul(h, w_hh), 4, axis=1), strict=True))
        c = gate_value(outer, gates["f"]) * c + gate_value(outer, gates["i"]) * gate_value(cell, gates["g"])
        return gate_value(outer, gates["o"]) * gate_value(shown, c), c

    steps = _projected(inputs[0], w_ih, tuple(biases))
    sequence, carry = _loop(layer, step, _starts(layer, inputs, 2), steps)
    return OpResult((sequence, *carry))


@OPERATIONS.register("gru", weight_layout=GATES_LAST)
def gru(layer: GRU, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """h <- (1 - z) n + z h."""
    w_ih, w_hh, *biases = weights
    size = layer.hidden_size
    both = layer.reset == "after"
    # With the reset gate after the product, the recurrent bias stays with the recurrent product.
    steps = _projected(inputs[0], w_ih, tuple(biases[:1] if both else biases))
    outer, candidate = layer.gates()
    w_gates, w_candidate = w_hh[:, : 2 * size], w_hh[:, 2 * size :]

    def step(a: Any, carry: Values) -> Values:
        (h,) = carry
        b = tf.linalg.matmul(h, w_hh if both else w_gates)
        if both and biases:
            b = b + biases[1]
        gates = gate_value(outer, a[:, : 2 * size] + b[:, : 2 * size])
        r, z = (gates[:, size * i : size * (i + 1)] for i in map(layer.gate_order.index, "rz"))
        inner = r * b[:, 2 * size :] if both else tf.linalg.matmul(r * h, w_candidate)
        n = gate_value(candidate, a[:, 2 * size :] + inner)
        return ((1 - z) * n + z * h,)

    sequence, carry = _loop(layer, step, _starts(layer, inputs, 1), steps)
    return OpResult((sequence, *carry))


@OPERATIONS.register("rnn", weight_layout=GATES_LAST)
def rnn(layer: RNN, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """h <- f(W_ih x + b_ih + W_hh h + b_hh)."""
    w_ih, w_hh, *biases = weights
    (gate,) = layer.gates()

    def step(a: Any, carry: Values) -> Values:
        return (gate_value(gate, a + tf.linalg.matmul(carry[0], w_hh)),)

    steps = _projected(inputs[0], w_ih, tuple(biases))
    sequence, carry = _loop(layer, step, _starts(layer, inputs, 1), steps)
    return OpResult((sequence, *carry))
