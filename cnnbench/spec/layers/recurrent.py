"""Recurrent layers over a sequence: LSTM, GRU and the plain RNN."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self

from cnnbench.errors import SpecError
from cnnbench.spec.layers.arrays import WeightSpec
from cnnbench.spec.layers.base import Example, Shapes, require_int, require_one_of
from cnnbench.spec.layers.gates import Biases, Gated, GateFunction, GateOrder, check_sequence, gate_weights


@dataclass(frozen=True, kw_only=True)
class LSTM(Gated, kind="lstm"):
    """Long short-term memory over a sequence, one layer, one direction.

    At each step, with a = W_ih x + b_ih + W_hh h + b_hh cut into four gates:
    c <- sigmoid(f) c + sigmoid(i) tanh(g); h <- sigmoid(o) tanh(c).

    Args:
        hidden_size: H, the length of h and c.
        reverse: Whether the sequence is read from its end. Step t of the output still belongs to step t of the input,
            and the last h and c are those after the first step.
        gate_order: In which order the gates' rows stand in the weights: ``"ifgo"`` (PyTorch; Keras, which calls g c)
            or ``"iofg"`` (ONNX).
        biases: ``"two"`` (PyTorch, ONNX), ``"one"`` (Keras; their sum) or ``"none"``.
        activations: The functions of i, f and o, of g, and of c in h: sigmoid, tanh, tanh, or others of
            ``spec.layers.gates`` (ONNX's f, g, h).
        alpha, beta: Their numbers, as ``Gated``.

    Shapes:
        Inputs (N, T, I), and the start h (N, H) and c (N, H) or neither, which stands for zeros.
        Outputs: the h of every step (N, T, H), the last h (N, H), the last c (N, H).

    Weights:
        weight_ih (4H, I), weight_hh (4H, H), bias_ih (4H,), bias_hh (4H,); with one bias it is ``bias``.
        Initialisation: uniform in +-1/sqrt(H) (PyTorch's default).

    Raises:
        SpecError: A start h without c; starts of another shape; a sequence of no steps.

    Sources: Hochreiter, Schmidhuber (1997); Gers et al., "Learning to forget" (2000); names as torch.nn.LSTMCell.
    """

    hidden_size: int
    reverse: bool = False
    gate_order: GateOrder = "ifgo"
    biases: Biases = "two"
    activations: tuple[GateFunction, ...] = ("sigmoid", "tanh", "tanh")

    roles = ("of the gates i, f and o", "of g", "of c in h")
    example = Example((1, 5, 3), hidden_size=4)
    num_inputs = (1, 3)
    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        require_int(self.hidden_size, "hidden_size", least=1)
        require_one_of(self.gate_order, "gate_order", ("ifgo", "iofg"))
        require_one_of(self.biases, "biases", ("two", "one", "none"))
        check_sequence(inputs, self.kind, self.hidden_size, 2)
        return self.resolved_gates()

    def output_shapes(self, inputs: Shapes) -> Shapes:
        batch, steps, _ = inputs[0]
        last = (batch, self.hidden_size)
        return ((batch, steps, self.hidden_size), last, last)

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        return gate_weights(4, self.hidden_size, inputs[0][2], self.biases)

    def macs(self, inputs: Shapes, outputs: Shapes) -> int:
        return 4 * math.prod(outputs[0]) * (inputs[0][2] + self.hidden_size)

    def is_global(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class GRU(Gated, kind="gru"):
    """Gated recurrent unit over a sequence, one layer, one direction.

    r and z are sigmoid(W_ih x + b_ih + W_hh h + b_hh), the candidate is n, and h <- (1 - z) n + z h.

    Args:
        hidden_size: H, the length of h.
        reverse: Whether the sequence is read from its end, as ``LSTM`` does.
        gate_order: In which order the gates' rows stand in the weights: ``"rzn"`` (PyTorch) or ``"zrn"`` (Keras and
            ONNX, which call n h).
        reset: Where the reset gate acts: ``"after"`` the product, n = tanh(W x + b_i + r (W_hh h + b_h)) (PyTorch,
            Keras' default, ONNX's linear_before_reset=1), or ``"before"``, n = tanh(W x + b_i + W_hh (r h) + b_h)
            (the paper, ONNX's default).
        biases: ``"two"``, ``"one"`` (their sum, with ``reset="before"`` only, where it is the same) or ``"none"``.
        activations: The functions of r and z, and of n: sigmoid, tanh, or others of ``spec.layers.gates``.
        alpha, beta: Their numbers, as ``Gated``.

    Shapes:
        Inputs (N, T, I), and the start h (N, H) or zeros. Outputs: the h of every step (N, T, H), the last h (N, H).

    Weights:
        weight_ih (3H, I), weight_hh (3H, H), bias_ih (3H,), bias_hh (3H,); with one bias it is ``bias``.
        Initialisation: uniform in +-1/sqrt(H) (PyTorch's default).

    Raises:
        SpecError: A start of another shape; a sequence of no steps; one bias with ``reset="after"``.

    Source: Cho et al. (2014), arXiv:1406.1078, equations 5 to 8; names as torch.nn.GRUCell.
    """

    hidden_size: int
    reverse: bool = False
    gate_order: Literal["rzn", "zrn"] = "rzn"
    reset: Literal["after", "before"] = "after"
    biases: Biases = "two"
    activations: tuple[GateFunction, ...] = ("sigmoid", "tanh")

    roles = ("of the gates r and z", "of n")
    example = Example((1, 5, 3), hidden_size=4)
    num_inputs = (1, 2)
    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        require_int(self.hidden_size, "hidden_size", least=1)
        require_one_of(self.gate_order, "gate_order", ("rzn", "zrn"))
        require_one_of(self.reset, "reset", ("after", "before"))
        require_one_of(self.biases, "biases", ("two", "one", "none"))
        if self.biases == "one" and self.reset == "after":
            raise SpecError(
                "one bias is not the sum of two here",
                received="biases='one' with reset='after'",
                expected="biases='two', 'none', or reset='before'",
                remedy="the reset gate multiplies the recurrent bias alone: use biases='two'",
            )
        check_sequence(inputs, self.kind, self.hidden_size, 1)
        return self.resolved_gates()

    def output_shapes(self, inputs: Shapes) -> Shapes:
        batch, steps, _ = inputs[0]
        return ((batch, steps, self.hidden_size), (batch, self.hidden_size))

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        return gate_weights(3, self.hidden_size, inputs[0][2], self.biases)

    def macs(self, inputs: Shapes, outputs: Shapes) -> int:
        return 3 * math.prod(outputs[0]) * (inputs[0][2] + self.hidden_size)

    def is_global(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class RNN(Gated, kind="rnn"):
    """The plain recurrence over a sequence, one layer, one direction: h <- f(W_ih x + b_ih + W_hh h + b_hh).

    Args:
        hidden_size: H, the length of h.
        reverse: Whether the sequence is read from its end, as ``LSTM`` does.
        biases: As ``LSTM``.
        activations: f: tanh, or another of ``spec.layers.gates``.
        alpha, beta: Its numbers, as ``Gated``.

    Shapes:
        Inputs (N, T, I), and the start h (N, H) or zeros. Outputs: the h of every step (N, T, H), the last h (N, H).

    Weights:
        weight_ih (H, I), weight_hh (H, H), bias_ih (H,), bias_hh (H,); with one bias it is ``bias``.
        Initialisation: uniform in +-1/sqrt(H) (PyTorch's default).

    Raises:
        SpecError: A start of another shape; a sequence of no steps.

    Source: Elman, "Finding structure in time" (1990), with h for its context; names as torch.nn.RNNCell.
    """

    hidden_size: int
    reverse: bool = False
    biases: Biases = "two"
    activations: tuple[GateFunction, ...] = ("tanh",)

    roles = ("of h",)
    example = Example((1, 5, 3), hidden_size=4)
    num_inputs = (1, 2)
    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        require_int(self.hidden_size, "hidden_size", least=1)
        require_one_of(self.biases, "biases", ("two", "one", "none"))
        check_sequence(inputs, self.kind, self.hidden_size, 1)
        return self.resolved_gates()

    def output_shapes(self, inputs: Shapes) -> Shapes:
        batch, steps, _ = inputs[0]
        return ((batch, steps, self.hidden_size), (batch, self.hidden_size))

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        return gate_weights(1, self.hidden_size, inputs[0][2], self.biases)

    def macs(self, inputs: Shapes, outputs: Shapes) -> int:
        return math.prod(outputs[0]) * (inputs[0][2] + self.hidden_size)

    def is_global(self) -> bool:
        return True
