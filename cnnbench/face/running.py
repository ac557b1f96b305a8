"""``plan`` and ``run``: what a suite would measure, and the measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from cnnbench.errors import SuiteError
from cnnbench.face.keywords import OutputKeywords, RunKeywords, SuiteKeywords, takes
from cnnbench.face.recording import chosen_recorders
from cnnbench.harness.run.lookup import RunLike, find_run
from cnnbench.harness.run.runner import RunInterrupted, RunOptions, RunResult
from cnnbench.harness.run.runner import run as run_plan
from cnnbench.harness.run.store import DEFAULT_ROOT, RunStore
from cnnbench.harness.suite.file import Adjustments, adjusted, load_suite
from cnnbench.harness.suite.plan import Filters, Plan
from cnnbench.harness.suite.plan import plan as expand
from cnnbench.harness.suite.shipped import suite_file
from cnnbench.output.reports import write_reports


@takes(SuiteKeywords)
def plan(suite: str | Path, **chosen: Unpack[SuiteKeywords]) -> Plan:
    """The cells of a suite, without running anything; ``skip`` says why one would not run.

    Args:
        suite: Its file, or the name of one that ships: ``"resnet"``.
        chosen: The keywords below.

    Raises:
        SuiteError: A suite, a name or an option that cannot be understood, with its place and the nearest name.
    """
    return planned(suite, chosen)


@takes(SuiteKeywords, OutputKeywords)
def run(
    suite: str | Path | Plan | None = None, *, resume: RunLike | None = None, **how: Unpack[RunKeywords]
) -> RunResult:
    """Checks, trains, times and weighs every cell of a suite; writes records and reports, and returns what it found.

    Args:
        suite: Its file, the name of one that ships, or a plan.
        resume: A run to continue as it was planned, instead of a new one; ``"latest"`` beside a suite is the suite's.
        how: The keywords below.

    Raises:
        SuiteError: As ``plan``; neither a suite nor a run to continue; a folder that is in use.
        KeyboardInterrupt: It was interrupted; what it measured is kept, and its message names the folder.
    """
    root = Path(how.get("output", DEFAULT_ROOT))
    work, folder = work_of(suite, resume, root, how)
    return execute(work, RunOptions(root=root, resume=folder), how)


def work_of(
    suite: str | Path | Plan | None, resume: RunLike | None, root: Path, chosen: SuiteKeywords
) -> tuple[Plan, Path | None]:
    """The plan of a run, and the folder to continue, or None. Raises as ``run``.

    Args:
        suite: As in ``run``.
        resume: As in ``run``.
        root: Where runs' folders lie.
        chosen: The keywords of ``plan``.
    """
    folder = None
    if resume is not None:
        if resume == "latest" and suite is not None:
            resume = suite.suite.name if isinstance(suite, Plan) else load_suite(suite_file(suite)).name
        folder = find_run(resume, root)
        if suite is None or (folder / "plan.json").exists():
            return _continued(RunStore.open(folder).read_plan(), suite, chosen), folder
    if suite is None:
        raise SuiteError("no suite is given", expected="SUITE..., or --resume RUN", remedy="see 'cnnbench list suites'")
    return suite if isinstance(suite, Plan) else planned(suite, chosen), folder  # a folder without a plan gets this one


def _continued(kept: Plan, suite: str | Path | Plan | None, chosen: SuiteKeywords) -> Plan:
    """The plan with which a run goes on; the run refuses another one than it was started with."""
    unset: tuple[object, ...] = (None, False, (), [])
    asked = {name: chosen.get(name) for name in SuiteKeywords.__annotations__}
    given = [name for name, value in asked.items() if type(value) is int or value not in unset]
    if suite is None:
        if given:
            raise SuiteError(
                "what a run is to measure is chosen when it starts",
                where="--resume",
                received=", ".join(given),
                remedy="leave that out; to measure something else, start a run",
            )
        return kept
    if isinstance(suite, Plan):
        return suite
    if not {"backends", "expression", "shard"} & set(given):
        filters = kept.filters
        chosen = {**chosen, "backends": filters.backends, "expression": filters.expression, "shard": filters.shard}
    return planned(suite, chosen)


def planned(suite: str | Path, chosen: SuiteKeywords, unavailable: Mapping[str, str | None] | None = None) -> Plan:
    """As ``plan``.

    Args:
        suite: Its file.
        chosen: The keywords of ``plan``.
        unavailable: Why a backend cannot be used, by name, where other interpreters will run it.
    """
    adjustments = Adjustments.of(
        quick=chosen.get("quick", False),
        thorough=chosen.get("thorough", False),
        seed=chosen.get("seed"),
        threads=chosen.get("threads"),
        precision=chosen.get("precision"),
        timeout_s=chosen.get("timeout_s"),
    )
    read = adjusted(load_suite(suite_file(suite), chosen.get("overrides", ())), adjustments)
    filters = Filters(
        backends=tuple(chosen.get("backends", ())),
        expression=chosen.get("expression"),
        shard=_shard(chosen.get("shard")),
    )
    return expand(read, filters, unavailable)


def execute(work: Plan, options: RunOptions, how: OutputKeywords) -> RunResult:
    """Runs a plan, and writes the reports. Raises RunInterrupted, a KeyboardInterrupt, once all is written.

    Args:
        work: The plan.
        options: Where its folder goes, and how it is run; recorders come from ``how``.
        how: Who hears of the run: the keywords of ``OutputKeywords``.
    """
    options = replace(options, recorders=chosen_recorders(how.get("recorders")))
    result = run_plan(work, options, tuple(how.get("listeners", ())))
    write_reports(result.folder)
    if result.summary.interrupted:
        raise RunInterrupted(result)
    return result


def _shard(shard: tuple[int, int] | None) -> tuple[int, int] | None:
    if shard is not None and not 1 <= shard[0] <= shard[1]:
        received = "/".join(map(str, shard))
        raise SuiteError("the shard is not valid", where="shard", received=received, expected="I/N with 1 <= I <= N")
    return shard
