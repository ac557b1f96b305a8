"""Documented defects of released frameworks that no backend avoids; fuzzing does not report them again."""

from __future__ import annotations

import re
from typing import NamedTuple

from cnnbench.fuzzing.findings import Finding


class KnownDefect(NamedTuple):
    """A row of ``docs/framework-defects.md`` by which a finding is recognised.

    Args:
        heading: Of the row.
        backend: Whose.
        check, kind, quantity: Patterns of the signature's parts, whole.
        package: Whose version counts. versions: a pattern of those that have the defect.
        mode: A pattern of the modes.
    """

    heading: str
    backend: str
    check: str
    kind: str
    quantity: str
    package: str
    versions: str
    mode: str = ".*"


KNOWN: tuple[KnownDefect, ...] = ()


def known_defect(finding: Finding, known: tuple[KnownDefect, ...] = KNOWN) -> str | None:
    """The heading of the known defect that a finding is, or None."""
    name = finding.signature
    for item in known:
        parts = ((item.mode, name.mode), (item.check, name.check), (item.kind, name.kind))
        more = ((item.quantity, name.quantity), (item.versions, finding.versions.get(item.package, "")))
        if item.backend == name.backend and all(re.fullmatch(p, text) for p, text in (*parts, *more)):
            return item.heading
    return None
