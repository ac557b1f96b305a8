"""What a check says: its outcome, and how much of each error budget was used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from cnnbench.numerics.quantity import Quantity
from cnnbench.spec.frozen import Figures

REFUSED = "refused"  # in the details of a skipped check: the subject cannot do what it needs
DEFINED_ONCE = "defined_once"  # in the details of a local check: kinds that only a plugin's op for NumPy defines
ESSENTIAL = ("local", "end_to_end")  # refused, they leave a program unproven, whatever else passes
OF_PROGRAM = ("end_to_end", "classes", "timed")  # the checks that compare the outputs of the timed program
PROGRAM = "program"  # in the details of another check: whether it compared these outputs too
NOT_APPLICABLE = "not applicable: "  # how the message of a check begins that says nothing of this network
TRAINING_PROGRAM = "program"  # the check of a training program
QUANTITY = "quantity"  # in the details of a failed check: what of the node is wrong
RAISED = "raised"  # the problem of a failed check in which a plugin's code raised
CheckStatus = Literal["passed", "failed", "skipped"]


class NodeUse(Figures):
    """How much of its local error budget one quantity of a node used; ``numerics.json`` holds all of a cell.

    Args:
        node: Its name; ``loss`` for the loss.
        kind: Of its layer.
        quantity: What of it was compared.
        sharp_used: Largest error over the sharp budget.
        worst_case_used: Largest error over the worst-case budget.
        budget: The budget's form: ``derived``, ``measured sensitivity`` or ``exact``.
        worst_index: Where the largest use is, in the canonical layout.
        got: The value there.
        expected: The exact one.
    """

    node: str
    kind: str
    quantity: Quantity
    sharp_used: float
    worst_case_used: float
    budget: str
    worst_index: tuple[int, ...] = ()
    got: float | None = None
    expected: float | None = None


class CheckOutcome(Figures):
    """One numerical check of a network.

    Args:
        name: Of ``CHECKS``.
        status: ``passed``, ``failed``, or ``skipped`` with its reason in ``message``.
        budget_used: Largest fraction of the sharp budget used (a failure is above 1); None where none applies.
        worst_case_used: Largest fraction of the worst-case budget used.
        node: Where that is; on failure the first node that introduces the error, an input that is wrong before any
            node, or ``loss`` or ``optimizer``.
        message: One sentence.
        reproducer: Path of the file that reproduces a failure; within the cell's folder, in a record.
        details: Further figures; ``problem`` is ``nan``, ``wrong_shape``, ``wrong_dtype`` or ``raised`` where that is
            the failure.
        nodes: The use of every budget that was compared; a record leaves them to ``numerics.json``.
    """

    name: str
    status: CheckStatus
    budget_used: float | None = None
    worst_case_used: float | None = None
    node: str | None = None
    message: str = ""
    reproducer: str | None = None
    details: dict[str, Any] = Field(default_factory=dict)
    nodes: tuple[NodeUse, ...] = Field(default=(), exclude_if=lambda nodes: not nodes)

    @property
    def left_unproven(self) -> bool:
        """Whether the program's own numbers were not checked, because the subject could not do it."""
        return self.name in ESSENTIAL and self.status == "skipped" and bool(self.details.get(REFUSED))

    @property
    def compares_program(self) -> bool:
        """Whether it compared the outputs of the timed program with the right ones."""
        return self.status != "skipped" and (self.name in OF_PROGRAM or bool(self.details.get(PROGRAM)))

    def without_nodes(self) -> CheckOutcome:
        """The outcome as a record holds it."""
        return self.model_copy(update={"nodes": ()})

    def within(self, folder: Path) -> CheckOutcome:
        """The outcome whose reproducer's path is relative to ``folder``, where it lies in it."""
        if self.reproducer is None or not Path(self.reproducer).is_relative_to(folder):
            return self
        return self.model_copy(update={"reproducer": str(Path(self.reproducer).relative_to(folder))})


def why_unproven(outcomes: Sequence[CheckOutcome]) -> str | None:
    """Why the checks that were asked for do not prove a program, though none may have failed; None where they do.

    Either the backend refused the network or its nodes, or no check compared the outputs of the timed program: each
    was skipped, or only such checks were asked for as run other programs (``local``, ``gradient``, ``training``) or
    compare the program with itself (``determinism``). The check of a training program is about that alone.
    """
    outcomes = [outcome for outcome in outcomes if outcome.name != TRAINING_PROGRAM]
    refused = next((outcome for outcome in outcomes if outcome.left_unproven), None)
    if refused is not None:
        return f"{refused.name} check: {refused.message}"
    if not outcomes or any(outcome.compares_program for outcome in outcomes):
        return None
    skipped = [f"{outcome.name}: {outcome.message}" for outcome in outcomes if outcome.status == "skipped"]
    asked = "; ".join(skipped) or f"only {', '.join(outcome.name for outcome in outcomes)} ran"
    return f"no check compared the outputs of the timed program ({asked}); ask for end_to_end"
