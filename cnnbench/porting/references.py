"""References to users' own models: ``file.py:function``, ``package.module:function``, and files of frameworks."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cnnbench.registry import model_readers
from cnnbench.spec.interchange.model_readers import ModelReference

FILE = "file:"
_FUNCTION = re.compile(r"(?P<place>.+\.py|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<function>[A-Za-z_]\w*)")


def named_file(name: str) -> Path | None:
    """The file that a network's name ``file:PATH`` holds; None for every other name."""
    return Path(name.removeprefix(FILE)) if name.startswith(FILE) else None


def file_name(path: Path | str) -> str:
    """The name of a network that a file holds: ``file:PATH``."""
    return f"{FILE}{path}"


def without_prefix(name: str) -> str:
    """A network's name without ``file:``, as the user gave it."""
    return name.removeprefix(FILE)


def is_onnx(name: str) -> bool:
    """Whether a network's name is that of an ONNX file."""
    return name.lower().endswith(".onnx")


def suffixes() -> tuple[str, ...]:
    """The endings of files that hold a framework's model, as the backends' readers name them."""
    return tuple(suffix for reader in model_readers() for suffix in reader.suffixes)


def is_of_file(name: str) -> bool:
    """Whether a suite's name of a network is a path to it: ``file:PATH``, or a reference into a file as it stands."""
    reference = parse_reference(name)
    return named_file(name) is not None or (reference is not None and reference.path is not None)


def parse_reference(name: str) -> ModelReference | None:
    """The reference that a network's name is, None where it is none.

    >>> parse_reference("nets/small.py:make")
    ModelReference(place='nets/small.py', function='make')
    >>> parse_reference("my.zoo:resnet")
    ModelReference(place='my.zoo', function='resnet')
    >>> parse_reference("resnet50") is None
    True
    """
    text = without_prefix(name)
    found = _FUNCTION.fullmatch(text)
    if found is not None and found["place"] not in ("file", "package"):
        return ModelReference(found["place"], found["function"])
    return ModelReference(text, None) if text.lower().endswith(suffixes()) else None


def code_of(reference: ModelReference) -> list[Path]:
    """The files that a reference's model depends on: its own, and the code beside it or in its package.

    Of an installed package there is none: it does not change while a process runs.
    """
    if reference.path is not None:
        return [reference.path, *reference.path.parent.glob("*.py")]
    top = reference.place.partition(".")[0]
    found: list[Path] = []
    for place in (Path.cwd(), *map(Path, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))):
        found += [place / f"{top}.py", *(place / top).rglob("*.py")]
    return found
