"""The table of a backend's losses, and the losses that it has no function for: their layer on its operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from cnnbench.errors import SpecError, UnavailableError
from cnnbench.execution.binding import bind_program
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.operations import Array, Operations
from cnnbench.execution.program import Program, Tape
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Shape
from cnnbench.spec.losses import Loss, Objective
from cnnbench.spec.passes import lower

LossFunction = Callable[[Array, Array], Any]  # (output, targets) -> the scalar, or with its gradient

_F = TypeVar("_F", bound=Callable[..., Any])


class LossFunctions:
    """The losses that a backend has a function (loss, output, targets) for; ``bound_loss`` serves the others.

    Args:
        widen: What is done to the output and the targets first: losses are summed in float32 at least.

    >>> losses = LossFunctions()
    >>> @losses.register("mean_squared_error")
    ... def mean_squared_error(loss, output, targets):
    ...     return ((output - targets) ** 2).mean()
    """

    def __init__(self, widen: Callable[[Array], Array] = lambda x: x) -> None:
        self._widen = widen
        self._table: dict[str, tuple[Callable[..., Any], int | None]] = {}

    def register(self, kind: str, *, rank: int | None = None) -> Callable[[_F], _F]:
        """A decorator that makes a function that of a kind of loss, of outputs of this rank only where it is given."""

        def decorate(function: _F) -> _F:
            self._table[kind] = (function, rank)
            return function

        return decorate

    def find(self, loss: Loss, output: Shape) -> LossFunction | None:
        """(output, targets) -> what the registered function returns; None: there is none for outputs of this shape."""
        function, rank = (None, None) if loss.of_layer else self._table.get(loss.kind, (None, None))
        return partial(function, loss) if function is not None and rank in (None, len(output)) else None

    def bind(
        self, loss: Loss | None, graph: Graph, operations: Operations, options: ProgramOptions
    ) -> LossFunction | None:
        """(main output of the graph, targets) -> the scalar, by the registered function or by the loss' layer.

        Args:
            loss: The loss; None gives None.
            graph: Whose main output it is of.
            operations: The backend's ops, for a loss without a function here.
            options: How the program runs.

        Raises:
            UnavailableError: The backend lacks a part of the loss' layer.
            SpecError: The loss does not take an output of this shape.
        """
        if loss is None:
            return None
        output, widen = main_output(graph), self._widen
        if isinstance(loss, Objective):
            loss.require_scalar(output, graph.name)
            return lambda output, targets: widen(output)
        function = self.find(loss, output) or bound_loss(loss, output, operations, options)
        return lambda output, targets: function(widen(output), widen(targets))


@dataclass(frozen=True)
class BoundLoss:
    """(output, targets) -> the scalar, in the operands' own type; a framework differentiates it as it does any op."""

    program: Program

    def __call__(self, output: Array, targets: Array) -> Array:
        return self.program.forward((output, targets), (), ()).outputs[0]

    def recorded(self, output: Array, targets: Array) -> tuple[Array, Tape]:
        """The scalar, and the tape for ``gradient``."""
        result = self.program.forward((output, targets), (), (), record=True)
        if result.tape is None:
            raise RuntimeError("a recorded pass has a tape")
        return result.outputs[0], result.tape

    def gradient(self, tape: Tape, cotangent: Array) -> Array:
        """The output's gradient by the ops' backward functions."""
        return self.program.reverse(tape, (cotangent,), ()).inputs[0]


def loss_graph(loss: Loss, output: Shape) -> Graph:
    """The loss of a main output of this whole shape as a graph of one layer, on inputs ``output`` and ``targets``.

    Raises SpecError where the output does not have the shape that the loss needs.
    """
    try:
        targets = loss.target_shape(output)
    except IndexError:
        targets = output
    builder = Builder(f"loss {loss.kind}")
    values = (
        builder.input("output", output, batched=False),
        builder.input("targets", targets, dtype="int" if loss.int_targets else "float", batched=False),
    )
    return builder.build(builder.add("loss", loss.layer(), *values))


def bound_loss(loss: Loss, output: Shape, operations: Operations, options: ProgramOptions) -> BoundLoss:
    """The layer of a loss on a backend's ops.

    Args:
        loss: The loss.
        output: The shape of the main output; its batch axis may be of any size.
        operations: The backend's ops.
        options: How the program runs.

    Raises:
        UnavailableError: The backend lacks a part of the layer.
        SpecError: The loss does not take an output of this shape.
    """
    graph = lower(loss_graph(loss, output), native=tuple(operations))
    if graph.named_weights():
        raise SpecError("a loss has no weights of its own", where=graph.name, received=graph.named_weights()[0].name)
    for node in graph.nodes:
        reason = operations.gap(node.layer, options.precision.name, options.mode, gradient=True)
        if reason is not None:
            raise UnavailableError(reason, where=f"{graph.name}: {node.layer.kind} on {operations.backend}")
    return BoundLoss(bind_program(graph, operations, training=True))


def main_output(graph: Graph) -> Shape:
    """The shape of a graph's main output for a batch of one."""
    return graph.shapes()[graph.outputs[0][1]]
