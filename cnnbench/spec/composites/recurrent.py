"""Recurrent layers in both directions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from cnnbench.spec.composites.base import Composite
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.base import Example, Layer
from cnnbench.spec.layers.gates import Biases, GateFunction, GateOrder
from cnnbench.spec.layers.indexing import Split
from cnnbench.spec.layers.merge import Concat
from cnnbench.spec.layers.recurrent import GRU, LSTM, RNN


@dataclass(frozen=True, kw_only=True)
class BidirectionalLSTM(Composite, kind="bidirectional_lstm"):
    """Two LSTMs, one from each end, their outputs side by side.

    Args:
        hidden_size, gate_order, biases, activations, alpha, beta: As ``LSTM``, for each direction.

    Shapes:
        (N, T, I), and the starts h and c, both (N, 2H), or neither -> (N, T, 2H), the forward direction first; both
        last h (N, 2H); both last c (N, 2H).

    Weights:
        ``forward.*`` and ``reverse.*`` as ``LSTM``.

    Source: Schuster, Paliwal (1997); the order of torch.nn.LSTM(bidirectional=True).
    """

    hidden_size: int
    gate_order: GateOrder = "ifgo"
    biases: Biases = "two"
    activations: tuple[GateFunction, ...] = ("sigmoid", "tanh", "tanh")
    alpha: tuple[float, ...] = ()
    beta: tuple[float, ...] = ()

    example = Example((1, 5, 3), hidden_size=4)
    num_inputs = (1, 3)

    def expand(self, builder: Builder, *inputs: Value) -> tuple[Value, ...]:
        return _both_ends(builder, lambda reverse: LSTM(**vars(self), reverse=reverse), *inputs)


@dataclass(frozen=True, kw_only=True)
class BidirectionalGRU(Composite, kind="bidirectional_gru"):
    """Two GRUs, one from each end, their outputs side by side.

    Args:
        hidden_size, gate_order, reset, biases, activations, alpha, beta: As ``GRU``, for each direction.

    Shapes:
        (N, T, I), and the start h (N, 2H) or zeros -> (N, T, 2H), the forward direction first; both last h (N, 2H).

    Weights:
        ``forward.*`` and ``reverse.*`` as ``GRU``.

    Source: as ``BidirectionalLSTM``; the order of torch.nn.GRU(bidirectional=True).
    """

    hidden_size: int
    gate_order: Literal["rzn", "zrn"] = "rzn"
    reset: Literal["after", "before"] = "after"
    biases: Biases = "two"
    activations: tuple[GateFunction, ...] = ("sigmoid", "tanh")
    alpha: tuple[float, ...] = ()
    beta: tuple[float, ...] = ()

    example = Example((1, 5, 3), hidden_size=4)
    num_inputs = (1, 2)

    def expand(self, builder: Builder, *inputs: Value) -> tuple[Value, ...]:
        return _both_ends(builder, lambda reverse: GRU(**vars(self), reverse=reverse), *inputs)


@dataclass(frozen=True, kw_only=True)
class BidirectionalRNN(Composite, kind="bidirectional_rnn"):
    """Two RNNs, one from each end, their outputs side by side.

    Args:
        hidden_size, biases, activations, alpha, beta: As ``RNN``, for each direction.

    Shapes:
        (N, T, I), and the start h (N, 2H) or zeros -> (N, T, 2H), the forward direction first; both last h (N, 2H).

    Weights:
        ``forward.*`` and ``reverse.*`` as ``RNN``.

    Source: as ``BidirectionalLSTM``; the order of torch.nn.RNN(bidirectional=True).
    """

    hidden_size: int
    biases: Biases = "two"
    activations: tuple[GateFunction, ...] = ("tanh",)
    alpha: tuple[float, ...] = ()
    beta: tuple[float, ...] = ()

    example = Example((1, 5, 3), hidden_size=4)
    num_inputs = (1, 2)

    def expand(self, builder: Builder, *inputs: Value) -> tuple[Value, ...]:
        return _both_ends(builder, lambda reverse: RNN(**vars(self), reverse=reverse), *inputs)


def _both_ends(builder: Builder, layer: Callable[[bool], Layer], x: Value, *starts: Value) -> tuple[Value, ...]:
    """A layer from each end, each with its half of the start states; outputs side by side."""
    halves = [
        builder.add_all(f"start_{name}", Split(sizes=2, axis=-1), start)
        for name, start in zip("hc", starts, strict=False)
    ]
    ends = [
        builder.add_all(name, layer(name == "reverse"), x, *(half[i] for half in halves))
        for i, name in enumerate(("forward", "reverse"))
    ]
    names = ("sequence", "last_h", "last_c")[: len(ends[0])]
    return tuple(builder.add(name, Concat(axis=-1), *both) for name, *both in zip(names, *ends, strict=True))
