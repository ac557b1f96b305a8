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
