"""One drawn fault, or one clean run, and what the checks made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.checks import CHECKS, run_checks
from cnnbench.numerics.faults.engine.injection import faulty_subject, not_injectable
from cnnbench.numerics.faults.grammar.drawing import Chance
from cnnbench.numerics.faults.grammar.faults import DrawnFault, FaultId, draw_fault
from cnnbench.numerics.faults.grammar.networks import kind_of, network_case, score_networks
from cnnbench.numerics.faults.score.equivalence import bound_of
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.streams import stream

if TYPE_CHECKING:
    from cnnbench.numerics.case import Case
    from cnnbench.numerics.outcome import CheckOutcome

Outcome = Literal["killed", "escaped", "equivalent", "raised", "not injected"]
WEIGHTS = {"residual": 5, "branches": 4, "transformer": 4, "lenet5": 1, "resnet20": 1}
LARGE = frozenset({"resnet20"})


@dataclass(frozen=True)
class Scoring:
    """What is to be scored.

    Args:
        backend: Loaded.
        options: Mode and precision.
        seed: Of the draws.
        networks: By name, as ``score_networks`` lists them; () for all.
    """

    backend: Backend
    options: ProgramOptions
    seed: int = 0
    networks: tuple[str, ...] = ()


@dataclass(frozen=True)
class FaultRow:
    """What became of one drawn fault.

    Args:
        id: What it was drawn from.
        where, when, what: Its classes. text: the fault in one line.
        outcome: ``killed``; ``escaped``; ``equivalent``, where its exact effect lies within every budget; ``raised``,
            where the faulty program did not run, so that nothing was silent; ``not injected``.
        located: Whether the first check that named a node named the right one.
        check: The first that failed.
        node: What was named.
        share: Of the budget, by that check; of an equivalent fault the bound of its effect.
        message: What the check said, or where the bound is.
        seconds: Of processor time.
    """

    id: str
    where: str
    when: str
    what: str
    text: str
    outcome: Outcome
    located: bool = False
    check: str | None = None
    node: str | None = None
    share: float | None = None
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class CleanRow:
    """One clean run: the network, what varied, and the alarms.

    Args:
        id: What it was drawn from.
        network, seed, batch, folded, precision: What was run.
        alarms: What each failed check said.
        seconds: Of processor time.
    """

    id: str
    network: str
    seed: int
    batch: int
    folded: bool
    precision: str
    alarms: tuple[str, ...] = ()
    seconds: float = 0.0


def fault_ids(asked: Scoring) -> Iterator[FaultId]:
    """Ids without end: networks of several kinds and networks of one kind in turn, each with its own numbers."""
    names = asked.networks or score_networks()
    kinds = [name for name in names if kind_of(name)]
    several = [name for name in names if name not in kinds for _ in range(WEIGHTS.get(name, 1))]
    Chance(stream(asked.seed, "order of networks")).shuffle(kinds)
    taken: dict[str, int] = {}
    turns = [part for part in (several, kinds) if part]
    place = 0
    while True:
        part = turns[place % len(turns)]
        name = part[place // len(turns) % len(part)]
        taken[name] = taken.get(name, -1) + 1
        yield FaultId(name, asked.seed, taken[name])
        place += 1


def examine_fault(asked: Scoring, name: FaultId) -> FaultRow:
    """Draws a fault, puts it in, runs the checks one after another until one names a node, and says what became of it.

    A fault that passed all of them is put into the exact reference, to see whether it could be seen at all.
    """
    drawn = draw_fault(name, asked.backend, asked.options)
    row = FaultRow(str(name), drawn.where, drawn.occasion.when, drawn.change.what, drawn.text, "escaped")
    return _examined(asked, drawn, row)


def _examined(asked: Scoring, drawn: DrawnFault, row: FaultRow) -> FaultRow:
    reason = not_injectable(asked.backend, drawn.fault)
    if reason is not None:
        return replace(row, outcome="not injected", message=reason)
    subject = faulty_subject(asked.backend, drawn.fault)
    for check in CHECKS:
        try:
            (outcome,) = run_checks([check], subject, drawn.case)
        except Exception as error:
            if row.outcome != "killed" and _is_sound(asked, check, drawn.case):
                return replace(row, outcome="raised", check=check, message=f"{type(error).__name__}: {error}"[:300])
            continue
        if outcome.status == "failed" and _is_sound(asked, check, drawn.case):
            row = _with_failure(row, drawn, outcome)
            if row.located or row.node is not None:
                return row
    if row.outcome == "killed":
        return row
    bound = bound_of(drawn, subject.composites)
    return replace(row, outcome="equivalent" if bound.equivalent else "escaped", share=bound.share, message=bound.text)


_SOUND: dict[tuple[object, ...], bool] = {}


def _is_sound(asked: Scoring, check: str, case: Case) -> bool:
    """Whether the right backend passes, or skips, a check on this case: else its failure says nothing of a fault.

    It is asked of a check that failed, of which most faults have one.
    """
    key = (asked.backend.name, case.options, case.graph.name, case.seed, check)
    if key not in _SOUND:
        _SOUND[key] = _alarm(InProcessSubject(asked.backend), check, case) is None
    return _SOUND[key]


def _alarm(subject: InProcessSubject, check: str, case: Case) -> str | None:
    """What a check says that fails or raises, or None."""
    try:
        (outcome,) = run_checks([check], subject, case)
    except Exception as error:
        return f"{check}: {type(error).__name__}: {error}"[:300]
    return f"{check}: {outcome.message}"[:300] if outcome.status == "failed" else None


def _with_failure(row: FaultRow, drawn: DrawnFault, outcome: CheckOutcome) -> FaultRow:
    """The row after a check that failed: the first one counts, and the first that names a node locates."""
    nodes = drawn.change.nodes
    if row.outcome != "killed":
        row = replace(
            row, outcome="killed", check=outcome.name, share=outcome.budget_used, message=outcome.message[:300]
        )
    return replace(row, node=outcome.node, located=outcome.node in nodes or not nodes)


class CleanId(NamedTuple):
    """What a clean run is drawn from."""

    network: str
    seed: int
    number: int

    def __str__(self) -> str:
        return f"clean/{self.network}/{self.seed}/{self.number}"


def clean_ids(asked: Scoring) -> Iterator[CleanId]:
    """Ids without end, of the same networks in the same order as ``fault_ids``."""
    return (CleanId(*name) for name in fault_ids(asked))


def examine_clean(asked: Scoring, name: CleanId, precisions: Sequence[str]) -> CleanRow:
    """All checks on the backend as it is, on arrays, inputs, a batch, a folding and a precision that are drawn.

    Args:
        asked: The backend and its mode.
        name: What the run is drawn from.
        precisions: That the backend has in this mode.
    """
    chance = Chance(stream(name.seed, "clean run", name.network, name.number))
    seed, batch = chance.whole(1000, 10**6), chance.of((1, 2, 2, 3, 4))
    folded, policy = chance.share() < 0.5, chance.weighted([(p, 4.0 if p == "float32" else 1.0) for p in precisions])
    options = replace(asked.options, precision=precision(policy), fold_batch_norm=folded)
    case = network_case(name.network, options, seed, batch)
    subject = InProcessSubject(asked.backend)
    alarms = tuple(alarm for check in CHECKS if (alarm := _alarm(subject, check, case)) is not None)
    return CleanRow(str(name), name.network, seed, batch, folded, policy, alarms)
