"""Counts results: by list, by operator, and each on its own, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnnbench.conformance.onnx.lists import GROUPS, Group
from cnnbench.conformance.onnx.runner import OnnxResult

STATUSES = ("passed", "failed", "skipped")


@dataclass(frozen=True)
class ConformanceReport:
    """The results of one backend."""

    backend: str
    mode: str
    results: tuple[OnnxResult, ...]

    def counts(self, group: Group) -> dict[str, int]:
        """How many cases of a list passed, failed and were skipped, and how many there are."""
        return _counts([item for item in self.results if item.group == group])

    def operators(self) -> dict[str, dict[str, int]]:
        """The same by operator, over all lists."""
        names = sorted({item.operator for item in self.results})
        return {name: _counts([item for item in self.results if item.operator == name]) for name in names}

    @property
    def failed_core(self) -> bool:
        """Whether a core case failed."""
        return self.counts("core")["failed"] > 0

    @property
    def empty(self) -> bool:
        """Whether nothing was compared."""
        return not any(item.status == "passed" for item in self.results)

    def to_json(self) -> dict[str, Any]:
        """Plain data: what ``cnnbench conformance --json`` prints."""
        return {
            "backend": self.backend,
            "mode": self.mode,
            **{group: self.counts(group) for group in GROUPS},
            "operators": self.operators(),
            "cases": [_plain(item) for item in self.results],
        }


def _counts(results: Sequence[OnnxResult]) -> dict[str, int]:
    counts = {status: sum(item.status == status for item in results) for status in STATUSES}
    return {**counts, "total": len(results)}


def _plain(item: OnnxResult) -> dict[str, Any]:
    error = item.error if item.error is not None and item.error != float("inf") else None
    return {
        "name": item.name,
        "group": item.group,
        "operator": item.operator,
        "status": item.status,
        "message": item.message,
        "error": error,
    }
