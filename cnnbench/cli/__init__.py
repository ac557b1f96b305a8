"""The command line: thin commands over the other rooms; nothing heavy is imported until a command needs it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: ends the process with the design's exit codes.

    An interruption that passes an ``exec`` of text, such as a dataclass makes of its methods, lets CPython end by the
    signal whatever handled it; another ``exec`` takes that back (``unhandled_keyboard_interrupt`` in ``pythonrun.c``).

    Args:
        arguments: Of the command line; those of the process unless given.
    """
    try:
        from cnnbench.cli.entry import main as run
    except KeyboardInterrupt:
        print("interrupted before the command was done", file=sys.stderr)  # noqa: T201
        exec("")  # noqa: S102
        sys.exit(130)
    run(arguments)
