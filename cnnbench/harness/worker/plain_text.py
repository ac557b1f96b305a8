"""Text from processes that are not ours, made fit for JSON files, terminals and pages."""

from __future__ import annotations

import re

from cnnbench.addresses import without_secrets

# Half characters, which UTF-8 cannot hold, and control characters but for tab and line ends.
_UNFIT = re.compile("[\ud800-\udfff\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def plain_text(text: str) -> str:
    """The text without secrets, and with every unfit character as a question mark in a box."""
    return without_secrets(_UNFIT.sub("\ufffd", text))
