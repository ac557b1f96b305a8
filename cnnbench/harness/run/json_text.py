"""JSON that someone else may have written: whatever is wrong with it is a DataError."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cnnbench.errors import DataError


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises DataError where it cannot be read or is none."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror or error}", where=str(path)) from None
    except ValueError as error:
        raise DataError(f"not valid JSON: {error}", where=str(path)) from None
    except RecursionError:
        raise DataError("not valid JSON: nested too deeply", where=str(path)) from None
