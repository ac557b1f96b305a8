"""What each backend makes of each layer kind: an op of its own, the kind's parts, or nothing and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cnnbench.errors import SpecError
from cnnbench.execution.gaps import Gap
from cnnbench.execution.operations import Operations
from cnnbench.spec.examples import example_graph
from cnnbench.spec.layers import Layer
from cnnbench.spec.passes import lower


@dataclass(frozen=True)
class Support:
    """A backend's support of a kind.

    Args:
        how: ``native`` (an op of its own), ``lowered`` (as its parts), ``none``, or ``unknown`` (of a composite whose
            example is not valid, so that its parts are not known).
        gradient: Whether it differentiates: ``yes``, ``with gaps``, or ``no``.
        parts: The primitive kinds that a lowered kind is made of, in its example.
        reason: Why there is none; None there too means that nobody has said why, which is a defect.
        gaps: What the backend declares of the kind, or of its parts.
    """

    how: Literal["native", "lowered", "none", "unknown"]
    gradient: Literal["yes", "with gaps", "no"]
    parts: tuple[str, ...] = ()
    reason: str | None = None
    gaps: tuple[Gap, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data for listings."""
        return {
            "how": self.how,
            "gradient": self.gradient,
            "parts": list(self.parts),
            "reason": self.reason,
            "gaps": [gap.to_json() for gap in self.gaps],
        }


def layer_support(kinds: Mapping[str, type[Layer]], operations: Operations) -> dict[str, Support]:
    """What a backend makes of each of these kinds."""
    return {kind: _support(kind, cls, operations) for kind, cls in kinds.items()}


def _support(kind: str, cls: type[Layer], operations: Operations) -> Support:
    if kind in operations:
        gaps = tuple(gap for gap in operations.gaps if gap.kind == kind)
        return Support("native", _gradient(cls, gaps), gaps=gaps)
    if not cls.is_composite:
        return _none(cls, (kind,), operations)
    try:
        parts = _parts(cls, frozenset(operations))
    except SpecError as error:
        return Support("unknown", "no", reason=str(error))
    missing = tuple(part for part in parts if part not in operations)
    if missing:
        return _none(cls, missing, operations)
    gaps = tuple(gap for gap in operations.gaps if gap.kind in (kind, *parts))
    return Support("lowered", _gradient(cls, gaps), parts, gaps=gaps)


def _none(cls: type[Layer], missing: Iterable[str], operations: Operations) -> Support:
    gaps = tuple(gap for gap in operations.gaps if gap.kind in (cls.kind, *missing))
    reason = next((gap.reason for gap in gaps if gap.kind in (cls.kind, *missing)), None)
    return Support("none", "no", reason=reason, gaps=gaps)


def _gradient(cls: type[Layer], gaps: tuple[Gap, ...]) -> Literal["yes", "with gaps", "no"]:
    if not cls.differentiable:
        return "no"
    return "with gaps" if any(not gap.special_values for gap in gaps) else "yes"


def _parts(cls: type[Layer], native: Collection[str]) -> tuple[str, ...]:
    """The kinds that a composite's example is lowered to."""
    return tuple(sorted({node.layer.kind for node in lower(example_graph(cls), native=native).nodes}))
