"""What a bundled run claims, and how far a second run of the same cells reproduces it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from cnnbench.gates.baselines import judged_scores
from cnnbench.gates.compare import Difference
from cnnbench.gates.evidence import Evidence
from cnnbench.gates.ratio_claims import HEAD_TO_BASE, latency_claims, memory_claim, side_claims
from cnnbench.gates.rules import Rules
from cnnbench.gates.training_claims import claims_a_curve, metric_claims, training_claim
from cnnbench.gates.verification import Claim, Found, Grade
from cnnbench.harness.run.exit_codes import INCONCLUSIVE, OK, REGRESSED, WORKER_FAILED, WRONG_NUMBERS, worst
from cnnbench.harness.run.record import Record
from cnnbench.numerics.outcome import CheckOutcome, NodeUse
from cnnbench.spec.frozen import Frozen

GRADES: tuple[Grade, ...] = (
    "not reproduced", "not comparable", "within budget", "ratio reproduced", "bitwise"
)  # fmt: skip
TRAINING = "training curve"
BUDGETED = ("local", "end_to_end", "exact", "gradient", "classes")
GONE = ("crashed", "hung", "out_of_memory", "error", "interrupted")


class Verification(Frozen):
    """A bundle's claims, graded.

    Args:
        bundle: The bundle's digest. bundled_run, run: the run that it holds, and the one that was made of it here.
        differences: Settings, versions and machine in which the two differ.
    """

    schema_version: Literal[1] = 1
    suite: str
    bundle: str
    bundled_run: str
    run: str
    differences: tuple[Difference, ...]
    claims: tuple[Claim, ...]

    @property
    def counts(self) -> dict[Grade, int]:
        """How many claims of each grade."""
        return dict(Counter(claim.grade for claim in self.claims))

    @property
    def exit_code(self) -> int:
        """3 or 4 where numbers are not reproduced (3: for a worker that failed), 1 where a ratio is not; 5, 0."""
        codes = [_code(claim) for claim in self.claims]
        return worst(codes or [INCONCLUSIVE])


def _code(claim: Claim) -> int:
    if claim.grade == "not comparable":
        return INCONCLUSIVE
    if claim.grade != "not reproduced":
        return OK
    if claim.failed:
        return WORKER_FAILED
    return REGRESSED if claim.claim in ("latency", HEAD_TO_BASE, "memory") else WRONG_NUMBERS


@dataclass(frozen=True)
class _Runs:
    """Both runs, with what a claim is graded by."""

    bundled: Evidence
    again: Evidence
    rules: Rules

    def records(self) -> Mapping[str, Record]:
        return {record.cell.id: record for record in self.again.records}


def graded(bundled: Evidence, again: Evidence, rules: Rules | None = None) -> tuple[Claim, ...]:
    """Every claim of a bundled run with its grade.

    A cell that ended well claims the outputs of its program, the checks that it passed, its training curve, each metric
    of test images that is judged, its peak memory, its latency against the fastest of its comparison group (seconds
    alone are a machine's own), and in an A/B run against its other side.

    Args:
        bundled: The run in the bundle.
        again: The same cells, by id, run again.
        rules: What is tolerated.
    """
    rules = rules or Rules()
    runs = _Runs(bundled, again, rules)
    after = runs.records()
    claims: list[Claim] = []
    for record in bundled.records:
        if record.status == "skipped":
            continue
        if record.status != "ok":
            reason = f"the bundled cell ended as {record.status}: it claims nothing"
            claims.append(Claim.of(record, "record", Found("not comparable", reason=reason)))
            continue
        claims += _of_cell(record, after.get(record.cell.id), runs)
    well = {name: item for name, item in after.items() if item.status == "ok"}
    claims += latency_claims(bundled, well, again, rules)
    claims += side_claims(bundled, well, again, rules)
    reason = "the bundle has no record of it"
    claims += [Claim.of(cell, "record", Found("not comparable", reason=reason)) for cell in bundled.unrecorded]
    order = {cell.id: i for i, cell in enumerate((*(item.cell for item in bundled.records), *bundled.unrecorded))}
    return tuple(sorted(claims, key=lambda claim: order[claim.subject]))


def _of_cell(record: Record, other: Record | None, runs: _Runs) -> Iterator[Claim]:
    """The claims of a cell; all have one grade where it was not run again, or did not end."""
    reason = why_not(record, other)
    if reason is not None:
        for name in _names(record):
            yield Claim.of(record, name, Found("not comparable", reason=reason))
        return
    assert other is not None
    if other.status in GONE:
        for name in _names(record):
            found = Found("not reproduced", reason=f"{other.status}: {other.reason}", failed=True)
            yield Claim.of(record, name, found)
        return
    if record.outputs is not None:
        yield Claim.of(record, "outputs", _outputs(record, other, runs.again))
    for check in record.checks:
        if check.status == "passed":
            before, after = (_nodes(run, record.cell.id, check.name) for run in (runs.bundled, runs.again))
            yield Claim.of(record, check.name, _check(check, other.check(check.name), before == after))
    if record.training is not None:
        if claims_a_curve(record.training):
            yield Claim.of(record, TRAINING, training_claim(record.training, other, runs.rules))
        for name, found in metric_claims(record.training, other, runs.rules):
            yield Claim.of(record, name, found)
    if record.memory is not None and runs.rules.gates.memory is not None:
        yield Claim.of(record, "memory", memory_claim(record, other, runs.rules.gates.memory))


def _names(record: Record) -> list[str]:
    """What a cell claims of itself."""
    names = ["outputs"] if record.outputs is not None else []
    names += [check.name for check in record.checks if check.status == "passed"]
    if record.training is not None:
        names += [TRAINING] if claims_a_curve(record.training) else []
        names += [score.metric for score in judged_scores(record.training)]
    return names + (["memory"] if record.memory is not None else [])


def why_not(record: Record, other: Record | None) -> str | None:
    """Why a cell cannot be compared with its second run, or None."""
    if other is None and record.cell.side == "base":
        return "the base side's environment is not in the bundle: name its interpreter with --base"
    if other is None:
        return "it was not run again"
    if other.status == "skipped":
        return f"skipped here: {other.reason}"
    if record.digests is None or other.digests is None:
        return f"nothing was measured here: {other.status}, {other.reason}"
    differing = record.digests.differing(other.digests)
    return f"the digest of the {' and the '.join(differing)} differs" if differing else None


def _outputs(record: Record, other: Record, again: Evidence) -> Found:
    """The same bits; or other bits, and the program's checks say whether they are within its error budget."""
    if other.outputs is None:  # a cell with wrong numbers (NaN, another shape) has none that could be compared
        grade: Grade = "not comparable" if other.status == "ok" else "not reproduced"
        return Found(grade, reason=f"there are no outputs here: {other.reason or other.status}")
    if other.outputs == record.outputs:
        return Found("bitwise", record.outputs[:12], other.outputs[:12])
    same = [check for item in again.records if item.cell.program_key == other.cell.program_key for check in item.checks]
    checks = [check for check in same if check.name in BUDGETED and check.status != "skipped"]
    failed = next((check for check in checks if check.status == "failed"), None)
    if failed is not None:
        reason = f"the outputs differ, and the check {failed.name!r} fails here"
        return Found("not reproduced", str(record.outputs)[:12], other.outputs[:12], reason)
    if not checks:
        reason = "the outputs differ, and the suite has no check that says by how much they may"
        return Found("not comparable", str(record.outputs)[:12], other.outputs[:12], reason)
    reason = f"other bits, and {' and '.join(dict.fromkeys(check.name for check in checks))} within budget here"
    return Found("within budget", str(record.outputs)[:12], other.outputs[:12], reason)


def _nodes(run: Evidence, cell: str, check: str) -> list[NodeUse]:
    """The nodes whose budget a check measures: of values in the local check, of gradients in that of gradients."""
    found = run.budgets.get(cell, ()) if check in ("local", "gradient") else ()
    return [item for item in found if item.quantity.is_gradient == (check == "gradient")]


def _check(before: CheckOutcome, after: CheckOutcome | None, same_nodes: bool) -> Found:
    """A check that passed: to the last bit of every figure, within budget, or not."""
    if after is None or after.status == "skipped":
        return Found("not comparable", _used(before), reason=after.message if after else "the check did not run here")
    if after.status == "failed":
        place = f"{after.node}: " if after.node else ""
        return Found("not reproduced", _used(before), _used(after), f"{place}{after.message}")
    figures = ("budget_used", "worst_case_used", "node", "details")
    same = same_nodes and all(getattr(before, name) == getattr(after, name) for name in figures)
    return Found("bitwise" if same else "within budget", _used(before), _used(after))


def _used(check: CheckOutcome) -> str:
    return check.status if check.budget_used is None else f"{check.budget_used:.3%} of the budget"
