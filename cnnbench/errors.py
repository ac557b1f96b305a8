"""The errors that a user may cause or must be told of: where, what was received, what was expected, the remedy."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable
from typing import Any

from cnnbench.addresses import without_secrets

LONGEST = 1000  # characters of what was given or is wanted


class CnnbenchError(Exception):
    """An expected error: shown without a traceback.

    Args:
        message: One sentence that says what is wrong.
        where: The place: a node, a file with line and column, a command-line option.
        received: What was given.
        expected: What would have been right.
        remedy: What to do about it.

    The command line ends with ``exit_code`` when an error of the class reaches it. Passwords and tokens of addresses
    are cut out of every text.
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        received: object = None,
        expected: object = None,
        remedy: str | None = None,
    ) -> None:
        self.message = without_secrets(message)
        self.where: str | None = _shown(where)
        self.received: object = _shown(received)
        self.expected: object = _shown(expected)
        self.remedy: str | None = _shown(remedy)
        super().__init__(self.message)

    def at(self, where: str) -> CnnbenchError:
        """The same error with its place filled in, the outer place first."""
        found = copy.copy(self)
        found.where = _shown(f"{where}: {self.where}" if self.where else where)
        return found

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.message}" if self.where else self.message]
        for label, value in (("received", self.received), ("expected", self.expected), ("remedy", self.remedy)):
            if value is not None:
                value = f"{value[:LONGEST]} …" if isinstance(value, str) and len(value) > LONGEST else value
                lines.append(f"  {label}: {value}")
        return "\n".join(lines)


def _shown(value: Any) -> Any:
    return without_secrets(value) if isinstance(value, str) else value


class SpecError(CnnbenchError):
    """A network that cannot be: shapes that do not fit, an unknown kind or field, a name used twice."""


class FieldError(SpecError):
    """A field of a layer, a loss or an optimiser whose value cannot be.

    Args:
        field: Its name, with which the message begins.
        problem: What is wrong with it.
        details: Where, what was received, what was expected, and the remedy.
    """

    def __init__(self, field: str, problem: str = "is not valid", **details: Any) -> None:
        super().__init__(f"{field} {problem}", **details)
        self.field = field


class SuiteError(CnnbenchError):
    """A suite, a baseline or an option that cannot be understood."""


class UnavailableError(CnnbenchError):
    """A backend, a capability, a dataset or an optional package that is not here."""


class DataError(CnnbenchError):
    """A file of weights, records or data whose content does not fit."""


class StorageError(CnnbenchError):
    """A disk that is full, or a file or folder that cannot be written."""


class UnfinishedRunError(StorageError):
    """A run that ended because it could not be written: what is there is kept, and the run can be resumed."""

    exit_code = 130


class WorkerError(CnnbenchError):
    """A worker process that crashed, hung or ran out of memory."""

    exit_code = 3


class PluginError(CnnbenchError):
    """Code of a plugin that raised: its op, its kind, its budget."""


class NumericalError(CnnbenchError):
    """A result with the wrong values, shape or dtype, or with NaN."""

    exit_code = 4


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like ``name``, or None where none is close."""
    matches = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.5)
    return matches[0] if matches else None


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A remedy that names the nearest valid name, else all of them (at most twenty)."""
    options = sorted(candidates)
    match = nearest(name, options)
    if match is not None:
        return f"did you mean {match!r}?"
    shown = ", ".join(options[:20])
    return f"one of: {shown}{', …' if len(options) > 20 else ''}"
