"""The rows of ``cnnbench list layers``: each kind, and what each backend makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from cnnbench.cli.terminal import echo, print_table

if TYPE_CHECKING:
    from cnnbench.conformance.support import Support

Rows = list[dict[str, Any]]
SHOWN = {"native": "native", "lowered": "as its parts", "none": "no", "unknown": "not known"}


def layer_rows(backends: Sequence[str] | None) -> Rows:
    """Every kind with what is known of it.

    Args:
        backends: The names of backends to load and ask; None for every one that is known, () for none, which is quick.

    Raises:
        UnavailableError: An unknown name.
    """
    from cnnbench.claims.claim import claims
    from cnnbench.execution.layout_change import LayoutChange
    from cnnbench.numerics.budgets import budget_form
    from cnnbench.registry import layer_kinds, own_graphs
    from cnnbench.spec.usage import kind_uses

    uses = kind_uses(own_graphs(), {name: item.experiment for name, item in claims().items()})
    kinds = {kind: cls for kind, cls in layer_kinds().items() if cls is not LayoutChange}
    support = {name: _asked(name) for name in _names(backends)}
    return [
        {
            "kind": kind,
            "family": cls.family,
            "composite": cls.is_composite,
            "fields": [field.name for field in fields(cls)],
            "about": (cls.__doc__ or "").strip().splitlines()[0],
            "budget": budget_form(kind),
            "differentiable": cls.differentiable,
            "int_inputs": list(cls.int_inputs),
            "example": {"inputs": [list(shape) for shape in cls.example.inputs], "fields": dict(cls.example.fields)},
            "used_by": uses[kind].to_json(),
            "backends": {
                name: {"available": False, "reason": found}
                if isinstance(found, str)
                else {"available": True, **found[kind].to_json()}
                for name, found in support.items()
            },
        }
        for kind, cls in kinds.items()
    ]


def plain_rows(rows: Rows) -> Rows:
    """The rows for a table: what uses a kind in a few words."""
    from cnnbench.spec.usage import Uses

    return [{**row, "used_by": str(Uses(**row["used_by"]))} for row in rows]


def _names(backends: Sequence[str] | None) -> list[str]:
    from cnnbench.execution.backends import backend_plugin, backend_plugins

    if backends is None:
        return list(backend_plugins())
    return [backend_plugin(name).name for name in backends]


def _asked(name: str) -> dict[str, Support] | str:
    """What a backend makes of each kind, or why it cannot be asked."""
    from cnnbench.conformance.support import layer_support
    from cnnbench.execution.backends import backend_plugin, load_backend
    from cnnbench.registry import layer_kinds

    reason = backend_plugin(name).unavailable()
    if reason is not None:
        return reason
    return layer_support(layer_kinds(), load_backend(name).operations)


def backend_columns(rows: Rows) -> None:
    """Prints a column a backend; then, where a reader's eye ends, every gap with its reason, and what is not here."""
    names = list(rows[0]["backends"])
    table = []
    for row in rows:
        shown = [_cell(row["backends"][name]) for name in names]
        table.append((row["kind"], row["family"], row["budget"], *shown))
    print_table(("kind", "family", "budget", *names), table)
    gaps = dict.fromkeys(gap for row in rows for name in names for gap in _gaps(row["kind"], name, row["backends"]))
    if gaps:
        echo("\n* gaps that backends declare:")
        print_table(("backend", "kind", "where", "reason"), list(gaps))
    for name in names:
        found = rows[0]["backends"][name]
        if not found["available"]:
            echo(f"\n{name} is not here: {found['reason']}")


def _cell(found: dict[str, Any]) -> str | None:
    if not found["available"]:
        return None
    return SHOWN[found["how"]] + ("*" if found["gaps"] else "")


def _gaps(kind: str, name: str, backends: dict[str, dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """A backend's gaps in a kind: its name, the kind, where the gap is, and why."""
    found = backends[name]
    if not found["available"]:
        return []
    lines = []
    if found["how"] in ("none", "unknown"):
        lines.append((name, kind, "everywhere", found["reason"] or "no op, and no reason given"))
    for gap in found["gaps"]:
        where = [", ".join(gap["precisions"]), ", ".join(gap["modes"]), gap["condition"]]
        where.append("gradient only" if gap["gradient_only"] else "")
        lines.append((name, gap["kind"], "; ".join(filter(None, where)) or "everywhere", gap["reason"]))
    return lines
