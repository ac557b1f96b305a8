"""``gate`` and ``compare``: a run against its baseline, against another run, or its cells against each other."""

from __future__ import annotations

from pathlib import Path
from typing import overload

from cnnbench.errors import DataError
from cnnbench.gates.baselines import Snapshot, baseline_path, load_baseline, snapshot
from cnnbench.gates.compare import Relative, RunComparison, relative
from cnnbench.gates.compare import compare as compare_runs
from cnnbench.gates.evidence import read_evidence
from cnnbench.gates.rules import Rules
from cnnbench.gates.verdicts import GateResult, gate_sides
from cnnbench.gates.verdicts import gate as judge
from cnnbench.harness.run.lookup import RunLike, find_run, summary_of
from cnnbench.harness.run.store import DEFAULT_ROOT, RunStore


def gate(
    run: RunLike, baseline: Path | str | None = None, *, base: RunLike | None = None, root: Path | str = DEFAULT_ROOT
) -> GateResult:
    """Judges a run by the gates of its suite; writes nothing.

    Args:
        run: The run. An A/B run is judged by its own base side, unless a baseline or a run is named.
        baseline: The baseline's file; ``reports/baselines/<suite>.json`` unless given.
        base: A run to judge against, instead of a baseline.
        root: Where runs' folders lie.

    Raises:
        SuiteError: There is no such run. DataError: there is no baseline, it is of another suite, or a file is damaged.
    """
    folder = find_run(run, root)
    found = snapshot(read_evidence(folder))
    rules = _rules_of(folder)
    if found.two_sided and base is None and baseline is None:
        return _held_to_their_ends(gate_sides(found, rules), folder)
    if base is not None:
        result = judge(found.side("head"), snapshot_of(base, root), rules)
        return _held_to_their_ends(result, folder, find_run(base, root))
    path = Path(baseline or baseline_path(found.suite))
    kept = load_baseline(path)
    if kept.suite != found.suite:
        raise DataError(
            "the baseline is of another suite",
            where=str(path),
            received=kept.suite,
            expected=found.suite,
            remedy="name the suite's own with --baseline, or judge against a run with --base",
        )
    result = judge(found.side("head"), kept, rules)
    return _held_to_their_ends(result, folder)


def _rules_of(folder: Path) -> Rules:
    """The gates of a run's suite."""
    return Rules.of(RunStore.open(folder).read_plan().suite) if (folder / "plan.json").exists() else Rules()


def _held_to_their_ends(result: GateResult, *folders: Path) -> GateResult:
    """The result, undecided where nothing says what a run was to measure, or that it came to its end."""
    lacking = {RunStore(folder).id: lack for folder in folders if (lack := _lack(folder)) is not None}
    notes = tuple(f"run {name} has no {lack}" for name, lack in lacking.items())
    return result.model_copy(update={"unfinished": tuple(lacking), "notes": (*result.notes, *notes)})


def _lack(folder: Path) -> str | None:
    if not (folder / "plan.json").exists():
        return "plan, so nothing says which cells it lacks"
    return "summary, so nothing says that it came to its end" if summary_of(folder) is None else None


@overload
def compare(run: RunLike, other: None = None, *, root: Path | str = DEFAULT_ROOT) -> tuple[Relative, ...]: ...


@overload
def compare(run: RunLike, other: RunLike, *, root: Path | str = DEFAULT_ROOT) -> RunComparison: ...


def compare(
    run: RunLike, other: RunLike | None = None, *, root: Path | str = DEFAULT_ROOT
) -> tuple[Relative, ...] | RunComparison:
    """The cells of a run against the fastest of each group, or a second run against the first.

    Args:
        run: The run.
        other: A run to compare with it.
        root: Where runs' folders lie.

    Returns:
        For one run, the ratio of each timed cell's latency to its group's fastest, from paired rounds. For two, the
        settings in which they differ, and every figure as a gate would see it (``result``).

    Raises:
        SuiteError: There is no such run. DataError: a file of it is damaged.
    """
    if other is None:
        return relative(read_evidence(find_run(run, root)))
    before, after = find_run(run, root), find_run(other, root)
    found = compare_runs(snapshot_of(before), snapshot_of(after), _rules_of(after))
    return found.model_copy(update={"result": _held_to_their_ends(found.result, before, after)})


def snapshot_of(run: RunLike, root: Path | str = DEFAULT_ROOT, *, reason: str = "") -> Snapshot:
    """A run condensed to what a baseline keeps.

    Args:
        run: The run.
        root: Where runs' folders lie.
        reason: Why the baseline is set, to be kept with it.
    """
    return snapshot(read_evidence(find_run(run, root)), reason=reason).side("head")
