"""The two sides of an A/B run: their interpreters, what is installed there, and a plan with every cell on both."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from cnnbench.errors import SuiteError, WorkerError
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.plan import Plan
from cnnbench.harness.worker.client import Worker
from cnnbench.harness.worker.errors import RequestFailedError
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.spec.frozen import Frozen

Side = Literal["base", "head"]
SIDES: tuple[Side, ...] = ("base", "head")
START_TIMEOUT_S = 120.0


class Interpreter(Frozen):
    """A Python interpreter with what is installed there, as it says itself.

    Args:
        path: By which it is started. executable: as it names itself.
        location: The folder that it imports cnnbench from. git: that folder's commit, where it is a checkout.
        packages: Versions of the packages that matter. plugins: distributions that offer something to cnnbench.
        distributions: Versions of all of them; {} where its cnnbench is too old to tell.
        backends: Why each backend that it knows cannot be used, or None.
    """

    path: str
    python: str
    implementation: str = ""
    executable: str = ""
    cnnbench: str
    location: str = ""
    git: dict[str, Any] | None = None
    packages: dict[str, str] = Field(default_factory=dict)
    plugins: dict[str, str] = Field(default_factory=dict)
    distributions: dict[str, str] = Field(default_factory=dict)
    backends: dict[str, str | None] = Field(default_factory=dict)

    @property
    def told(self) -> dict[str, Any]:
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
                continue  # too old to tell; its workers will
            if name not in interpreter.backends:
                return f"{side}: {interpreter.path} knows no backend {name!r}"
            if (reason := interpreter.backends[name]) is not None:
                return f"{side}: {reason}"
        return None


def both(base: str, head: str) -> TwoSides:
    """Asks both interpreters what they are. Raises SuiteError where one cannot serve."""
    return TwoSides(ask("base", base), ask("head", head))


def ask(side: Side, python: str, timeout_s: float = START_TIMEOUT_S) -> Interpreter:
    """What an interpreter says of itself, over the same pipe as any worker.

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
        with Worker(WorkerSpec(None, python=path, side=side), start_timeout_s=timeout_s) as worker:
            return _described(worker, path, timeout_s)
    except WorkerError as error:
        raise SuiteError(
            f"the {side} interpreter is refused: {error.message}",
            where=f"{where} {path}",
            received=error.received,
            expected=error.expected,
            remedy=error.remedy or f"Python 3.11 or later with this cnnbench in it; see '{path} -m cnnbench doctor'",
        ) from None


def _described(worker: Worker, path: str, timeout_s: float) -> Interpreter:
    try:
        facts = worker.request("environment", timeout_s=timeout_s)
    except RequestFailedError:  # an older cnnbench of the same protocol
        facts = {name: worker.hello[name] for name in ("python", "cnnbench", "executable")}
    known = {name: value for name, value in facts.items() if name in Interpreter.model_fields}
    return Interpreter(path=path, **known)


def two_sided(plan: Plan) -> Plan:
    """The plan with every cell on both sides, the base's first; its id ends in ``-base``."""
    cells: list[Cell] = []
    for cell in plan.cells:
        cells += [cell.model_copy(update={"id": f"{cell.id}-base", "side": "base"}), cell]
    return plan.model_copy(update={"cells": tuple(cells)})


def interpreters_of(environment: Mapping[str, Any]) -> dict[str, str]:
    """The path of each side's interpreter, of a run's environment; {} of a run without sides."""
    sides = environment.get("sides") or {}
    return {name: str(facts["path"]) for name, facts in sides.items() if isinstance(facts, Mapping) and "path" in facts}
