"""A loss that a framework has no function for: its layer, bound on the backend's own operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnnbench.errors import SpecError, UnavailableError
from cnnbench.execution.operations import Array, Operations
from cnnbench.execution.program import Program, Tape
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Shape
from cnnbench.spec.losses import Loss
from cnnbench.spec.passes import lower

if TYPE_CHECKING:
    from cnnbench.execution.contract import ProgramOptions


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

    def gradient(self, tape: Tape, arriving: Array) -> Array:
        """The output's gradient by the ops' backward functions."""
        return self.program.reverse(tape, (arriving,), ()).inputs[0]


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
    """The loss of a main output of this shape (its batch axis of any size) on a backend's operations.

    Raises UnavailableError where the backend lacks one of its parts, SpecError where the output does not fit.
    """
    graph = lower(loss_graph(loss, output), native=tuple(operations))
    if graph.named_weights():
        raise SpecError("a loss has no weights of its own", where=graph.name, received=graph.named_weights()[0].name)
    for node in graph.nodes:
        reason = operations.gap(node.layer, options.precision.name, options.mode, gradient=True)
        if reason is not None:
            raise UnavailableError(reason, where=f"{graph.name}: {node.layer.kind} on {operations.backend}")
    return BoundLoss(Program.bind(graph, operations, training=True))


def main_output(graph: Graph) -> Shape:
    """The shape of a graph's main output for a batch of one."""
    return graph.shapes()[graph.outputs[0][1]]
