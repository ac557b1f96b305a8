"""Runs a command and turns what it raises into a message and an exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

import typer

from cnnbench.cli import streams
from cnnbench.errors import CnnbenchError, PluginError, WorkerError
from cnnbench.harness.run.interruption import interruptible

DEFECT = 70
USAGE = 2
INTERRUPTED = 130

# typer brings its own copy of click, or shares the installed one, by version: the class is found from one of its own
_USAGE_ERROR: type[BaseException] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: ends the process with the design's exit codes."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    streams.take_over()
    try:
        with interruptible():
            code = execute(given)
    except KeyboardInterrupt:  # in the moment before or after
        code = _interrupted()
    exec("")  # noqa: S102 - see cnnbench.cli.main
    failure = streams.give_back()
    if failure is not None:
        print(f"error: standard output: {failure.strerror}", file=sys.stderr)  # noqa: T201
        code = code if code in (DEFECT, INTERRUPTED) else USAGE
    sys.exit(code)


def execute(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    verbose = "-v" in arguments or "--verbose" in arguments
    try:
        from cnnbench.cli.application import application

        command = typer.main.get_command(application)
        with command.make_context("cnnbench", list(arguments)) as context:  # typer's own call hides interruptions
            result = command.invoke(context)
    except CnnbenchError as error:
        return _expected(error, verbose=verbose)
    except _USAGE_ERROR as error:
        error.show()  # type: ignore[attr-defined]
        return USAGE
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort) as stop:
        return _interrupted(*stop.args)
    except Exception as error:
        explained = _explained(error)
        if explained is not None:
            return _expected(explained, verbose=verbose, cause=error)
        traceback.print_exc()
        print("this is a defect of cnnbench; please report it with the lines above", file=sys.stderr)  # noqa: T201
        return DEFECT
    return result if isinstance(result, int) else 0


def _interrupted(said: str = "interrupted before the command was done") -> int:
    """One sentence; an interrupted run has its own, with its folder."""
    print(said, file=sys.stderr)  # noqa: T201
    return INTERRUPTED


def _explained(error: Exception) -> CnnbenchError | None:
    """A message for what is no defect of ours: a plugin's code, the system's refusal, memory that does not suffice."""
    if (found := _of_plugin(error)) is not None:
        return PluginError(found, remedy="-v shows every frame")
    if isinstance(error, OSError | UnicodeEncodeError):
        return _refused(error)
    return WorkerError("there is not enough memory") if isinstance(error, MemoryError) else None


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


def _refused(error: OSError | UnicodeEncodeError) -> CnnbenchError:
    """What the system refuses, with the file's name."""
    if isinstance(error, UnicodeEncodeError):
        return CnnbenchError(
            f"the locale's encoding ({error.encoding}) has no {error.object[error.start : error.end]!a}",
            received=ascii(error.object),
            remedy="use a locale with UTF-8, such as LC_ALL=C.UTF-8, or PYTHONUTF8=1",
        )
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return CnnbenchError(
        f"the system refuses: {error.strerror or error}",
        where=" -> ".join(names) or None,
        remedy="-v shows where this was asked for",
    )
