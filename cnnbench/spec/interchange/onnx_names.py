"""Names of a graph from an ONNX model's names, which may hold any character."""

from __future__ import annotations

import re
from collections.abc import Container

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]*")


def graph_name(text: str) -> str:
    """A name as graphs have them: parts of letters, digits, '_' and '-', joined by dots; "" where nothing is left.

    >>> graph_name("/layer1/layer1.0/conv1/Conv")
    'layer1.layer1.0.conv1.Conv'
    """
    parts = re.split(r"[./:]+", re.sub(r"[^A-Za-z0-9_\-./:]", "_", text))
    return ".".join(part if _PART.fullmatch(part) else f"_{part}" for part in parts if part)


def module_name(text: str, operator: str) -> str:
    """The name of a node that PyTorch calls by its module's path and its operator, as the module is called there.

    >>> module_name("/layer1/layer1.0/conv1/Conv", "Conv")
    'layer1.0.conv1'
    """
    parts: list[str] = []
    for part in filter(None, text.split("/")):
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(part)
    if len(parts) > 1 and re.fullmatch(rf"{re.escape(operator)}(_\d+)?", parts[-1]):
        parts.pop()
    return graph_name("/".join(parts))


def fresh_name(name: str, taken: Container[str]) -> str:
    """``name``, or with the first number behind it that makes it a name not yet taken.

    >>> fresh_name("conv", {"conv", "conv_2"})
    'conv_3'
    """
    base, count = name, 1
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    return name


class FreeNames:
    """The names of a graph's values and nodes that are still free."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._scopes: set[str] = set()

    def take(self, name: str, *, scope: bool = False) -> str:
        """``name``, changed as little as makes it free and keeps it out of composites' scopes.

        Args:
            name: What is wanted.
            scope: Whether it is the name of a composite, so that no other name may begin with it and a dot.
        """
        parts = name.split(".")
        if any(".".join(parts[:count]) in self._scopes for count in range(1, len(parts))):
            name = name.replace(".", "_")
        base, count = name, 1
        while name in self._taken or (scope and any(item.startswith(f"{name}.") for item in self._taken)):
            count += 1
            name = f"{base}_{count}"
        self._taken.add(name)
        if scope:
            self._scopes.add(name)
        return name
