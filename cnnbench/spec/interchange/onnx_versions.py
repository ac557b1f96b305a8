"""Versions of ONNX's operators: which one a file means, and which ones are read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cache

from cnnbench.errors import SpecError

DEFAULT_DOMAIN = ("", "ai.onnx")
REVIEWED = 27  # the last operator set whose changes have been gone through, operator by operator


@cache
def history() -> Mapping[tuple[str, str], tuple[int, ...]]:
    """The operator sets in which each (domain, operator) came or changed, in order, as the package has them."""
    from onnx import defs

    found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for schema in defs.get_all_schemas_with_history():
        found[schema.domain, schema.name].append(schema.since_version)
    return {key: tuple(sorted(versions)) for key, versions in found.items()}


def is_standard(op: str, domain: str) -> bool:
    """Whether ONNX defines the operator."""
    return (domain, op) in history()


def version_at(op: str, domain: str, opset: int) -> int | None:
    """The version of an operator that a file of an operator set means; None where that set has no such operator.

    Args:
        op: The operator.
        domain: Its domain.
        opset: The operator set.
    """
    return max((version for version in history().get((domain, op), ()) if version <= opset), default=None)


def readable(op: str, domain: str, since: int) -> tuple[int, ...]:
    """The versions of an operator that are read.

    Args:
        op: The operator.
        domain: Its domain.
        since: The oldest version that its importer reads.
    """
    return tuple(version for version in history().get((domain, op), ()) if since <= version <= REVIEWED)


def require_readable(op: str, domain: str, opset: int, since: int) -> None:
    """Raises SpecError where a file's version of an imported operator is not read.

    Args:
        op: The operator.
        domain: Its domain.
        opset: The operator set of the file.
        since: The oldest version that its importer reads.
    """
    if not is_standard(op, domain):
        return
    version = version_at(op, domain, opset)
    if version is None:
        raise SpecError(
            f"opset {opset} has no operator {op!r}",
            received=f"{op} in a file of opset {opset}",
            expected=f"opset {history()[domain, op][0]} or newer",
        )
    versions = readable(op, domain, since)
    if version not in versions:
        raise SpecError(
            f"version {version} of {op!r} is not read",
            received=f"{op} of opset {opset}",
            expected=f"version {', '.join(map(str, versions))}",
            remedy="export the model at another opset",
        )
