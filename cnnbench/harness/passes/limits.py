"""What no honest measurement shows: a clock of its own, processors beyond those asked for, results that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cnnbench.measurement.observation import IDLE_LIMIT_S, Observation

CLOCK_SHARE, CLOCK_S = 0.15, 0.05  # of a round and seconds besides that a request may spend on its way
AHEAD, AHEAD_S = 0.02, 1e-3  # by which two right clocks may differ
THREAD_SHARE, THREAD_S = 0.05, 0.01  # beyond what the processors that were asked for can give
LEAST_OBSERVED_S = 0.05  # of wall time, below which a kernel that counts in hundredths of a second says nothing
CHILD_SHARE, CHILD_S = 0.05, 0.03  # of the rounds that idle children may use; three ticks of the kernel's clock
KEPT_RATIO = 2.0
LEAST_KEPT_S = 1e-2  # shorter calls were compared before the samples, in processor time
LEAST_COMPARED = 2


@dataclass(frozen=True)
class RoundFacts:
    """One round of a program as it was seen from both ends of the pipe.

    Args:
        used_s: Processor time of a call, for each sample. again: whether it was on inputs that were called before.
        elapsed_s: Seconds of the round by the worker's clock.
        calls: All calls of the round, those that do not count among them.
        observed: By the worker, over the round.
        parent_s: Seconds until the worker's reply by the parent's clock; None where other requests lay between.
        idle_after_s: Seconds after the last call until the worker was idle, at most ``IDLE_LIMIT_S``.
        children_s: Processor time of the worker's children meanwhile.
    """

    used_s: tuple[float, ...]
    again: tuple[bool, ...]
    elapsed_s: float
    calls: int
    observed: Observation
    parent_s: float | None
    idle_after_s: float
    children_s: float


def dishonest(rounds: Sequence[RoundFacts], processors: int) -> str | None:
    """What the rounds of a launch show that cannot be, or None.

    A busy machine only adds to what a round takes, so each limit must be passed in all rounds, or in their sum.

    Args:
        rounds: Of one program.
        processors: That it may keep busy.
    """
    for question in (_clock, _threads, _children, _late, _kept):
        text = question(rounds, processors)
        if text is not None:
            return text
    return None


def _clock(rounds: Sequence[RoundFacts], processors: int) -> str | None:
    """The worker's clock counts less of each round than the parent's, or more than passed at all."""
    timed = [(item.parent_s, item.elapsed_s) for item in rounds if item.parent_s is not None]
    fits = not timed or any(parent - own <= CLOCK_S + CLOCK_SHARE * parent for parent, own in timed)
    if fits and all(own <= parent * (1 + AHEAD) + AHEAD_S for parent, own in timed):
        return None
    parent, own = max(timed, key=lambda item: abs(item[0] - item[1]))
    return f"the worker's clock counted {own:.3f} s in a round that took {parent:.3f} s by this process's"


def _threads(rounds: Sequence[RoundFacts], processors: int) -> str | None:
    """More processors are busy than were asked for."""
    wall = sum(item.observed.wall_s for item in rounds)
    busy = sum(item.observed.processor_s for item in rounds)
    if wall < LEAST_OBSERVED_S or busy <= processors * (1 + THREAD_SHARE) * wall + THREAD_S:
        return None
    return f"it kept {busy / wall:.1f} processors busy, and {processors} were asked for"


def _children(rounds: Sequence[RoundFacts], processors: int) -> str | None:
    """Other processes that the worker has started work while it is timed."""
    wall, used = sum(item.observed.wall_s for item in rounds), sum(item.children_s for item in rounds)
    if used <= CHILD_S + CHILD_SHARE * wall:
        return None
    return f"processes that its worker started used {used:.2f} s of processor time in {wall:.2f} s of rounds"


def _late(rounds: Sequence[RoundFacts], processors: int) -> str | None:
    """Threads work on after the last call, for longer than any library spins."""
    if not rounds or any(item.idle_after_s < IDLE_LIMIT_S for item in rounds):
        return None
    return f"its threads were still at work {IDLE_LIMIT_S} s after each round, when every call had been waited for"


def _kept(rounds: Sequence[RoundFacts], processors: int) -> str | None:
    """Calls on inputs that were called before use less processor time than those on new ones."""
    new: list[float] = []
    again: list[float] = []
    for item in rounds:
        for value, before in zip(item.used_s, item.again, strict=True):
            (again if before else new).append(value)
    if min(len(new), len(again)) < LEAST_COMPARED or min(new) < LEAST_KEPT_S:
        return None
    if min(new) <= KEPT_RATIO * max(again):
        return None
    return (
        f"a call uses {min(new) * 1e3:.3g} ms of processor time on a new input and at most {max(again) * 1e3:.3g} ms "
        "on one that was called before: results are kept"
    )
