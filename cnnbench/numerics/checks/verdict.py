"""From comparisons to an outcome: the largest use, the node that introduces error, the file that reproduces it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cnnbench.errors import UnavailableError
from cnnbench.numerics.comparison import Comparison
from cnnbench.numerics.divergence import ReproducerSource, render, write_reproducer
from cnnbench.numerics.outcome import QUANTITY, CheckOutcome
from cnnbench.numerics.second_opinions import Doubt


class Gathered(NamedTuple):
    """The comparisons that could be made, and why the rest could not."""

    comparisons: list[Comparison]
    refused: str | None


def gather(parts: Iterable[Iterable[Comparison]]) -> Gathered:
    """What each part compares, up to one that the subject refuses: what was found before stays found.

    Raises:
        UnavailableError: The first part is refused.
    """
    found: list[Comparison] = []
    try:
        for part in parts:
            found += part
    except UnavailableError as error:
        if not found:
            raise
        return Gathered(found, in_one_line(error))
    return Gathered(found, None)


def in_one_line(error: BaseException) -> str:
    """What an error says, where lines would break a sentence."""
    return "; ".join(line.strip() for line in str(error).splitlines()) or type(error).__name__


def failing(comparisons: Sequence[Comparison]) -> Comparison | None:
    """The first comparison, in the order of nodes, that exceeds the sharp budget or could not be made."""
    return next((c for c in comparisons if c.problem is not None or not c.use.sharp_used <= 1), None)


def judge(
    name: str, comparisons: Sequence[Comparison], details: Mapping[str, Any], source: ReproducerSource | None = None
) -> CheckOutcome:
    """The outcome of a local check.

    Args:
        name: The check's.
        comparisons: In the order of nodes, so that the first failure is the node that introduces the error.
        details: Figures to go with it.
        source: Gives the failing node's operands, for the report and the file; None where there is no node.
    """
    failure = failing(comparisons)
    most = max(comparisons, key=lambda c: c.use.sharp_used, default=None)
    at_ties = sum(c.at_ties for c in comparisons)
    known = dict(details) | {"compared": len(comparisons)} | ({"at_ties": at_ties} if at_ties else {})
    nodes = tuple(c.use for c in comparisons)
    if most is None:
        return CheckOutcome(name=name, status="skipped", message="no node to compare", details=known)
    worst = max(c.use.worst_case_used for c in comparisons)
    if failure is None:
        where = f"{most.use.sharp_used:.3g} of the sharp budget at most, at {most.use.node} ({most.use.quantity})"
        where += f"; {known['not_compared']}" if "not_compared" in known else ""
        return CheckOutcome(
            name=name,
            status="passed",
            budget_used=most.use.sharp_used,
            worst_case_used=worst,
            node=most.use.node,
            message=where,
            details=known,
            nodes=nodes,
        )
    if failure.problem is not None:
        known["problem"] = failure.problem
    known[QUANTITY] = str(failure.use.quantity)
    known["failing"] = sorted({c.use.node for c in comparisons if c.problem or not c.use.sharp_used <= 1})
    if source is not None:
        known |= evidence(failure, source)
    return CheckOutcome(
        name=name,
        status="failed",
        budget_used=max(c.use.sharp_used for c in comparisons),
        worst_case_used=worst,
        node=failure.use.node,
        message=describe(failure),
        reproducer=known.pop("reproducer", None),
        details=known,
        nodes=nodes,
    )


def joined(
    ordinary: CheckOutcome, hard: CheckOutcome, operands: str = "hard", words: str = "on hard operands"
) -> CheckOutcome:
    """The outcome of layers on ordinary operands, which passed, with that of the same on others.

    Args:
        ordinary: Of the first.
        hard: Of the second, whose failure is the whole's.
        operands: What details call the others.
        words: The same in a sentence.
    """
    details = {**ordinary.details, operands: hard.details.get("compared", 0)}
    if hard.status == "failed":
        known = {**details, **hard.details, "operands": operands}
        return hard.model_copy(update={"details": known, "message": f"{words}, {hard.message}"})
    if hard.status == "skipped":
        return ordinary
    if "not_compared" in hard.details:
        details["not_compared"] = f"{words}, {hard.details['not_compared']}"
    most = max(ordinary, hard, key=lambda outcome: outcome.budget_used or 0.0)
    return most.model_copy(
        update={
            "details": details,
            "worst_case_used": max(ordinary.worst_case_used or 0.0, hard.worst_case_used or 0.0),
            "message": most.message if most is ordinary else f"{most.message}, {words}",
            "nodes": (*ordinary.nodes, *hard.nodes),
        }
    )


def of_images(images: int) -> tuple[str, str]:
    """What details and sentences call operands of so many images, for ``joined``."""
    return f"of_{images}", "on 1 image" if images == 1 else f"on {images} images"


def evidence(failure: Comparison, source: ReproducerSource) -> dict[str, Any]:
    """The report of a failure and the path of its reproducer; where these cannot be made, why: it stays a failure."""
    found: dict[str, Any] = {} if failure.probe is None else {"probe": dict(failure.probe)}
    try:
        found["report"] = render(failure, source)
        path = write_reproducer(failure, source)
        if path is not None:
            found["reproducer"] = str(path)
    except Exception as error:
        found["no_reproducer"] = in_one_line(error)
    return found


def doubted(name: str, doubt: Doubt) -> CheckOutcome:
    """The failed outcome of a check whose reference is contradicted."""
    return CheckOutcome(name=name, status="failed", node=doubt.node, message=f"the reference is suspect: {doubt.text}")


def describe(failure: Comparison) -> str:
    """One sentence on a failing comparison."""
    use = failure.use
    head = f"{use.node} ({use.kind}), {use.quantity}"
    if failure.problem is not None:
        return f"{head}: {failure.text}"
    return (
        f"{head}: error is {use.sharp_used:.3g} times the sharp budget "
        f"({use.worst_case_used:.3g} times the worst case) at {list(use.worst_index)}: "
        f"got {use.got!r}, expected {use.expected!r}"
    )
