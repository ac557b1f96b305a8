"""``ab``: one suite in two environments at once, round by round, and a verdict on every cell."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from cnnbench.errors import SuiteError
from cnnbench.face.keywords import OutputKeywords, RunKeywords, SuiteKeywords, takes
from cnnbench.face.running import execute, planned
from cnnbench.gates.baselines import snapshot
from cnnbench.gates.compare import Difference, side_differences
from cnnbench.gates.evidence import read_evidence
from cnnbench.gates.rules import Rules
from cnnbench.gates.sequential import undecided_by
from cnnbench.gates.verdicts import GateResult, gate_sides
from cnnbench.harness.run.exit_codes import worst
from cnnbench.harness.run.lookup import RunLike, find_run
from cnnbench.harness.run.runner import RunOptions, RunResult
from cnnbench.harness.run.store import DEFAULT_ROOT, RunStore
from cnnbench.harness.suite.plan import Plan, two_sided
from cnnbench.harness.worker.sides import Interpreter, TwoSides, both, interpreters_of


@dataclass(frozen=True)
class ABResult:
    """What two environments gave side by side.

    Args:
        run: The run that both made.
        gate: The verdicts on the head.
        differences: What differs between the sides: interpreters, versions, settings.
    """

    run: RunResult
    gate: GateResult
    differences: tuple[Difference, ...] = ()

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.run.folder

    @property
    def exit_code(self) -> int:
        """The worse of the run's and the gate's."""
        return worst([self.run.exit_code, self.gate.exit_code])


@dataclass(frozen=True)
class ABWork:
    """A comparison that can begin: the plan with every cell on both sides, and the two interpreters.

    Args:
        folder: The run to continue, or None.
    """

    plan: Plan
    sides: TwoSides
    folder: Path | None = None

    def options(self, root: Path) -> RunOptions:
        """How it is run: an interpreter for each side, and the rule by which sampling goes on."""
        return on_both_sides(RunOptions(root=root, resume=self.folder), self.plan, self.sides)


@takes(SuiteKeywords, OutputKeywords)
def ab(
    suite: str | Path | None = None,
    *,
    base: str | None = None,
    head: str | None = None,
    resume: RunLike | None = None,
    **how: Unpack[RunKeywords],
) -> ABResult:
    """Compares two environments on one machine at one time.

    Args:
        suite: Its file.
        base: The interpreter to compare with: ``VENV/bin/python``.
        head: The interpreter to judge; this one unless given.
        resume: An A/B run to continue with the interpreters it began with, instead of a suite.
        how: The keywords below.

    Raises:
        SuiteError: Nothing to compare; an interpreter that cannot serve; as ``run``.
    """
    root = Path(how.get("output", DEFAULT_ROOT))
    work = continued_ab(find_run(resume, root)) if resume is not None else planned_ab(suite, base, head, how)
    return compared(work, how)


def planned_ab(suite: str | Path | None, base: str | None, head: str | None, chosen: SuiteKeywords) -> ABWork:
    """Asks both interpreters what they are, and plans. Raises as ``ab``.

    Args:
        suite: As in ``ab``.
        base: As in ``ab``.
        head: As in ``ab``.
        chosen: The keywords of ``plan``.
    """
    if suite is None or base is None:
        raise SuiteError(
            "there is nothing to compare",
            expected="SUITE --base PYTHON [--head PYTHON], or --resume RUN",
            remedy="give the interpreter of the environment to compare with: VENV/bin/python",
        )
    sides = both(base, head or sys.executable)
    return ABWork(two_sided(planned(suite, chosen, sides.unavailable)), sides)


def compared(work: ABWork, how: OutputKeywords) -> ABResult:
    """Runs what was planned, and judges the head by the base. Raises KeyboardInterrupt as ``run`` does."""
    result = execute(work.plan, work.options(Path(how.get("output", DEFAULT_ROOT))), how)
    found = snapshot(read_evidence(result.folder))
    return ABResult(result, gate_sides(found, Rules.of(work.plan.suite)), side_differences(found))


def on_both_sides(options: RunOptions, plan: Plan, sides: TwoSides) -> RunOptions:
    """The options with an interpreter for each side, and the rule by which sampling goes on.

    Args:
        options: Where the run goes, and how it is run.
        plan: Every cell on both sides.
        sides: The two interpreters.
    """
    pythons: dict[str, str] = {side: interpreter.path for side, interpreter in sides.items()}
    return replace(
        options,
        pythons=pythons,
        sides=dict[str, Interpreter](sides.items()),
        undecided=undecided_by(Rules.of(plan.suite)),
    )


def continued_ab(folder: Path) -> ABWork:
    """A run that was interrupted: its interpreters must still be what they were."""
    store = RunStore.open(folder)
    paths = interpreters_of(store.read_environment())
    if paths.keys() != {"base", "head"}:
        raise SuiteError("this is no A/B run", where=str(folder), remedy="continue it with: cnnbench run --resume RUN")
    sides = both(paths["base"], paths["head"])
    for side, interpreter in sides.items():
        if interpreter.distributions != store.read_lock().get(side):
            raise SuiteError(
                f"what is installed on the {side} side has changed since the run began",
                where=str(folder),
                received=interpreter.path,
                remedy="start the comparison anew",
            )
    return ABWork(store.read_plan(), sides, folder)
