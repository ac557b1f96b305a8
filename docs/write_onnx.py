"""Writes the table of operators of docs/onnx.md: each that is imported, with the versions of it that are read."""

from __future__ import annotations

import sys
from pathlib import Path

from cnnbench.spec.interchange.onnx_import import versions_read

PAGE = Path(__file__).parent / "onnx.md"
BEGIN = "<!-- The table is made by docs/write_onnx.py. -->\n"
END = "<!-- End of the table. -->\n"


def table() -> str:
    """One row an operator: its name, and its versions by the operator set in which each came."""
    lines = ["| operator | versions read |", "| --- | --- |"]
    lines += [f"| `{name}` | {', '.join(map(str, versions))} |" for name, versions in versions_read().items()]
    return "\n".join(lines)


def page() -> str:
    """The page as it should be."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has lost a line between which the table stands:\n{BEGIN}{END}")
    return f"{before}{begin}\n{table()}\n\n{end}{after}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        raise SystemExit(
            None if page() == PAGE.read_text(encoding="utf-8") else "docs/onnx.md is old: python docs/write_onnx.py"
        )
    PAGE.write_text(page(), encoding="utf-8")
