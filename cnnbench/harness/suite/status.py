"""How a cell may end, and the exit code that each end stands for."""

from __future__ import annotations

from typing import Literal

Status = Literal[
    "ok",
    "skipped",  # a capability is missing; the reason says which
    "crashed",
    "hung",
    "out_of_memory",
    "error",  # the worker answered with an exception
    "nan",
    "wrong_shape",
    "wrong_dtype",
    "mismatch",  # a numerical check failed
    "interrupted",
]
EXIT_CODES: dict[str, int] = {
    "crashed": 3,
    "hung": 3,
    "out_of_memory": 3,
    "error": 3,
    "nan": 4,
    "wrong_shape": 4,
    "wrong_dtype": 4,
    "mismatch": 4,
}
UNPROVEN = 5  # it ended, but its checks do not prove its program, or its training missed the target
