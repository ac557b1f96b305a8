"""How large the oracle's cache may become, as the environment says."""

from __future__ import annotations

import os
import re

from cnnbench.errors import SuiteError

VARIABLE = "CNNBENCH_CACHE_BYTES"
DEFAULT_BYTES = 8 * 2**30
EXPECTED = f"a whole number of bytes, such as {DEFAULT_BYTES}"


def cache_bytes() -> int:
    """``$CNNBENCH_CACHE_BYTES``, or 8 GiB where it is unset or empty.

    Raises:
        SuiteError: Its value is no number of bytes.
    """
    text = os.environ.get(VARIABLE) or str(DEFAULT_BYTES)
    if not re.fullmatch("[0-9]{1,18}", text):
        raise SuiteError("the size of the cache is not valid", where=f"${VARIABLE}", received=text, expected=EXPECTED)
    return int(text)
