"""Writes the table at the end of ``docs/budgets.md``: the formula of every kind, from the code (``make budgets``)."""

from __future__ import annotations

from pathlib import Path

from cnnbench.numerics.budgets import budget_form
from cnnbench.numerics.budgets.base import formulas
from cnnbench.spec.kinds import layer_kinds

PAGE = Path(__file__).parent / "budgets.md"
TITLE = "## Every kind\n"
ABOUT = "\nThe first words of each formula in the code. Composites are examined as their parts.\n\n"


def table() -> str:
    """A row for each kind that is no composite."""
    rows = ["| kind | form | forward | gradient |", "| --- | --- | --- | --- |"]
    for kind, cls in layer_kinds().items():
        if cls.__module__.startswith("cnnbench.spec.") and budget_form(kind) != "of its parts":
            forward, gradient = (_said(function) for function in formulas(kind))
            rows.append(f"| `{kind}` | {budget_form(kind)} | {forward} | {gradient} |")
    return "\n".join(rows) + "\n"


def _said(function: object) -> str:
    text = " ".join((getattr(function, "__doc__", None) or "–").split()) if function else "–"
    return text.replace("|", "\\|")


def page() -> str:
    """The page with its table as it should be."""
    return PAGE.read_text(encoding="utf-8").partition(TITLE)[0].rstrip() + "\n\n" + TITLE + ABOUT + table()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
