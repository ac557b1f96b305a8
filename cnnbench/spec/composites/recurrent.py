"""An LSTM in both directions."""

from __future__ import annotations

from dataclasses import dataclass

from cnnbench.spec.composites.base import Composite
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.base import Example
from cnnbench.spec.layers.merge import Concat
from cnnbench.spec.layers.recurrent import LSTM, Biases, GateOrder


@dataclass(frozen=True, kw_only=True)
class BidirectionalLSTM(Composite, kind="bidirectional_lstm"):
    """Two LSTMs, one from each end, their outputs side by side.

    Args:
        hidden_size, gate_order, biases: As ``LSTM``, for each direction.

    Shapes:
        (N, T, I) -> (N, T, 2H), the forward direction first; both last h (N, 2H); both last c (N, 2H).

    Weights:
        ``forward.*`` and ``reverse.*`` as ``LSTM``.

    Source: Schuster, Paliwal (1997); the order of torch.nn.LSTM(bidirectional=True).
    """

    hidden_size: int
    gate_order: GateOrder = "ifgo"
    biases: Biases = "two"

    example = Example((1, 5, 3), hidden_size=4)

    def expand(self, builder: Builder, *inputs: Value) -> tuple[Value, ...]:
        ends = [
            builder.add_all(
                name,
                LSTM(
                    hidden_size=self.hidden_size,
                    reverse=name == "reverse",
                    gate_order=self.gate_order,
                    biases=self.biases,
                ),
                inputs[0],
            )
            for name in ("forward", "reverse")
        ]
        parts = zip(("sequence", "last_h", "last_c"), *ends, strict=True)
        return tuple(builder.add(name, Concat(axis=-1), one, other) for name, one, other in parts)
