"""What a check says: one outcome, and the use of its budget node by node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

CheckStatus = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class NodeUse:
    """A node's use of its local error budget.

    Args:
        node, kind: Which. what: ``output``, ``input gradient 0``, ``gradient of weight``, ``running_mean`` ...
        sharp_used, worst_case_used: Largest error over budget.
        budget: The budget's form: ``derived`` or ``measured sensitivity``.
        worst_index: Where that is, in the canonical layout. got, expected: the two values there.
    """

    node: str
    kind: str
    what: str
    sharp_used: float
    worst_case_used: float
    budget: str
    worst_index: tuple[int, ...] = ()
    got: float | None = None
    expected: float | None = None


@dataclass(frozen=True)
class Outcome:
    """One numerical check of a case.

    Args:
        name: Of ``CHECKS``.
        status: ``passed``, ``failed``, or ``skipped`` with its reason in ``message``.
        budget_used: Largest fraction of the sharp budget used (a failure is above 1); None where none applies.
        worst_case_used: Largest fraction of the worst-case budget used.
        node: Where that is; on failure the first node that introduces the error, or ``loss`` or ``optimizer``.
        message: One sentence. reproducer: path of the file that reproduces a failure.
        details: Further figures; ``problem`` is ``nan``, ``wrong_shape`` or ``wrong_dtype`` where that is the failure.
        nodes: The use of every budget that was compared.
    """

    name: str
    status: CheckStatus
    budget_used: float | None = None
    worst_case_used: float | None = None
    node: str | None = None
    message: str = ""
    reproducer: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    nodes: tuple[NodeUse, ...] = ()
