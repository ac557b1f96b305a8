"""Writes docs/house.md: the rooms, and each module with the first sentence of its docstring."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "house.md"
MARK = "<!-- Everything below this line is made from the modules by docs/write_house.py: make house. -->\n"
SENTENCE_END = re.compile(r"(?<=[a-z0-9`)\]\"'])\.(?:\s|$)")


def first_sentence(path: Path) -> str:
    """The first sentence of a module's docstring, on one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    return SENTENCE_END.split(paragraph, maxsplit=1)[0].rstrip(".").replace("|", "\\|")


def folders(top: Path) -> Iterator[Path]:
    """Every package below a folder, itself first, parents before children."""
    yield top
    yield from sorted(path for path in top.rglob("*") if (path / "__init__.py").is_file())


def section(folder: Path) -> str:
    """The heading of a package with its purpose and one row for each of its modules."""
    name = folder.relative_to(ROOT).as_posix()
    lines = [f"### `{name}/`", "", f"{first_sentence(folder / '__init__.py')}.", ""]
    modules = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
    if modules:
        lines += ["| module | what it is for |", "| --- | --- |"]
        lines += [f"| `{path.name}` | {first_sentence(path)} |" for path in modules]
        lines.append("")
    return "\n".join(lines)


def listing() -> str:
    """All packages of the core and of the backends."""
    backends = sorted(path for path in (ROOT / "backends").iterdir() if (path / "__init__.py").is_file())
    parts = ["## The core", "", *(section(folder) for folder in folders(ROOT / "cnnbench"))]
    parts += ["## The backends", "", *(section(folder) for top in backends for folder in folders(top))]
    return "\n".join(parts)


def page() -> str:
    """The page as it should be: what is written by hand, the mark, and the listing."""
    written, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    if not mark:
        raise SystemExit(f"{PAGE} has lost the line that parts what is written by hand from what is made:\n{MARK}")
    return f"{written}{MARK}\n{listing()}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        raise SystemExit(None if page() == PAGE.read_text(encoding="utf-8") else "docs/house.md is old: make house")
    PAGE.write_text(page(), encoding="utf-8")
