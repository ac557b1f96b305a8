"""Text from processes that are not ours, made fit for JSON files, terminals and pages."""

from __future__ import annotations

import re
from typing import Any

# Half characters, which UTF-8 cannot hold, and control characters but for tab and line ends.
_UNFIT = re.compile("[\ud800-\udfff\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def plain_text(text: str) -> str:
    """The text with every unfit character as a question mark in a box."""
    return _UNFIT.sub("\ufffd", text)


def plain_data(value: Any) -> Any:
    """JSON data with every text in it, keys too, made plain."""
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, list):
        return [plain_data(item) for item in value]
    if isinstance(value, dict):
        return {plain_text(key): plain_data(item) for key, item in value.items()}
    return value
