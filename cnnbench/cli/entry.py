"""Runs a command and turns what it raises into a message and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import typer

from cnnbench.errors import CnnbenchError, PluginError

DEFECT = 70
INTERRUPTED = 130

# typer brings its own copy of click, or shares the installed one, by version: the class is found from one of its own
_USAGE_ERROR: type[BaseException] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: ends the process with the design's exit codes."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    code = execute(given)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def execute(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    from cnnbench.cli.application import application

    verbose = "-v" in arguments or "--verbose" in arguments
    try:
        result = application(args=list(arguments), standalone_mode=False)
    except CnnbenchError as error:
        return _expected(error, verbose=verbose)
    except _USAGE_ERROR as error:
        error.show()  # type: ignore[attr-defined]
        return 2
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    except BrokenPipeError:
        return 0  # whoever read our output has had enough of it
    except Exception as error:
        if (found := _of_plugin(error)) is not None:
            return _expected(PluginError(found, remedy="-v shows every frame"), verbose=verbose, cause=error)
        traceback.print_exc()
        print("this is a defect of cnnbench; please report it with the lines above", file=sys.stderr)  # noqa: T201
        return DEFECT
    return result if isinstance(result, int) else 0


def _of_plugin(error: Exception) -> str | None:
    """What went wrong in the code of a plugin, where that is whose code it was."""
    try:
        from cnnbench.execution.culprits import culprit

        return culprit(error)
    except Exception:  # then it is ours
        return None


def _expected(error: CnnbenchError, *, verbose: bool, cause: Exception | None = None) -> int:
    if verbose:
        traceback.print_exception(cause or error)
    else:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
    return error.exit_code
