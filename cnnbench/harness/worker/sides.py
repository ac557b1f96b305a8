"""The two sides of an A/B run: their interpreters, and what these report of themselves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cnnbench.errors import SuiteError, WorkerError
from cnnbench.harness.worker.client import WorkerClient
from cnnbench.harness.worker.interface import START_TIMEOUT_S, StartWorker
from cnnbench.harness.worker.protocol.setup import EnvironmentReply, EnvironmentRequest
from cnnbench.harness.worker.specification import WorkerSpec

Side = Literal["base", "head"]


class Interpreter(EnvironmentReply):
    """A Python interpreter with what it reports of itself. Args: path: by which it is started."""

    path: str

    @property
    def reported(self) -> dict[str, Any]:
        """What a run's environment says of it; the long list of distributions stands in ``lock.json``."""
        return self.model_dump(mode="json", exclude={"distributions", "backends"})


@dataclass(frozen=True)
class TwoSides:
    """Both interpreters of an A/B run."""

    base: Interpreter
    head: Interpreter

    def items(self) -> tuple[tuple[Side, Interpreter], ...]:
        """(side, interpreter), the base first."""
        return ("base", self.base), ("head", self.head)

    @property
    def alike(self) -> bool:
        """Whether nothing that is installed differs."""
        names = ("python", "implementation", "cnnbench", "location", "git", "packages", "plugins", "distributions")
        return all(getattr(self.base, name) == getattr(self.head, name) for name in names)

    @property
    def unavailable(self) -> dict[str, str | None]:
        """Why a backend cannot be compared, by name: one side lacks it."""
        names = self.base.backends.keys() | self.head.backends.keys()
        return {name: self._lack(name) for name in sorted(names)}

    def _lack(self, name: str) -> str | None:
        for side, interpreter in self.items():
            if not interpreter.backends:
                continue  # it reports none; its workers will say why
            if name not in interpreter.backends:
                return f"{side}: {interpreter.path} knows no backend {name!r}"
            if (reason := interpreter.backends[name]) is not None:
                return f"{side}: {reason}"
        return None


def both(base: str, head: str) -> TwoSides:
    """Asks both interpreters what they are. Raises SuiteError where one cannot serve."""
    return TwoSides(ask("base", base), ask("head", head))


def ask(side: Side, python: str, timeout_s: float = START_TIMEOUT_S, start: StartWorker = WorkerClient) -> Interpreter:
    """What an interpreter reports of itself, over the same pipe as any worker.

    Args:
        side: That it serves, for messages.
        python: Its path, or its name on the search path.
        timeout_s: Until it answers.
        start: Starts the worker.

    Raises:
        SuiteError: There is none, it has no cnnbench, or its cnnbench speaks another protocol.
    """
    where = f"--{side}"
    found = shutil.which(python)
    if found is None:
        remedy = f"give its interpreter: {Path(python) / 'bin' / 'python'}" if Path(python).is_dir() else None
        raise SuiteError("there is no such interpreter", where=where, received=python, remedy=remedy)
    path = os.path.abspath(found)  # noqa: PTH100 - a virtual environment's interpreter is a link that must stay one
    try:
        with start(WorkerSpec(None, python=path, side=side), start_timeout_s=timeout_s) as worker:
            reply = worker.ask(EnvironmentRequest(), timeout_s=timeout_s)
    except WorkerError as error:
        raise SuiteError(
            f"the {side} interpreter is refused: {error.message}",
            where=f"{where} {path}",
            received=error.received,
            expected=error.expected,
            remedy=error.remedy or f"Python 3.11 or later with this cnnbench in it; see '{path} -m cnnbench doctor'",
        ) from None
    return Interpreter(path=path, **dict(reply))


def interpreters_of(environment: Mapping[str, Any]) -> dict[str, str]:
    """The path of each side's interpreter, of a run's environment; {} of a run without sides."""
    sides = environment.get("sides") or {}
    return {name: str(facts["path"]) for name, facts in sides.items() if isinstance(facts, Mapping) and "path" in facts}
