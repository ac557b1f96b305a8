"""What a suite says of claims: which statements about networks a run tries, on which backends, over how many seeds."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated

from pydantic import BeforeValidator, Field

from cnnbench.errors import CnnbenchError, SuiteError, did_you_mean
from cnnbench.harness.suite.matrix import LARGEST_INT, Flag, Names, PositiveInt, Whole, listed
from cnnbench.spec.frozen import Frozen

FEWEST_SEEDS = 3  # of which an interval can be taken
Texts = Annotated[tuple[str, ...], BeforeValidator(listed, json_schema_input_type=str | list[str])]


class ClaimSettings(Frozen):
    """Claims that a run tries once its cells are through, each in a worker, in float64.

    Args:
        names: Of ``cnnbench claims``; () for all.
        backends: ``NAME`` or ``NAME:MODE``; in its default mode unless named.
        seeds: Repetitions of what is random.
        trained: Whether those whose experiments train networks are among them, where none is named.
        threads: Of each worker.
    """

    names: Texts = ()
    backends: Names
    seeds: Annotated[Whole, Field(ge=FEWEST_SEEDS, le=LARGEST_INT)] = 10
    trained: Flag = True
    threads: PositiveInt = 1


def shortened_claims(settings: ClaimSettings | None) -> ClaimSettings | None:
    """As ``--quick`` has it. Args: settings: of the suite."""
    return settings and settings.model_copy(update={"seeds": FEWEST_SEEDS, "trained": False})


class PlannedClaim(Frozen):
    """A claim on a backend. Args: skip: why it cannot be tried here; None where it can."""

    name: str
    backend: str
    mode: str
    seeds: int
    threads: int
    skip: str | None = None

    @property
    def id(self) -> str:
        """Unlike that of any other of a run."""
        return f"{self.name}-{self.backend}-{self.mode}"


def planned_claims(settings: ClaimSettings | None, only: Collection[str] = ()) -> tuple[PlannedClaim, ...]:
    """The claims that are asked for.

    Args:
        settings: Of the suite.
        only: ``NAME`` or ``NAME:MODE`` of the backends that are wanted; all where there is none.
    """
    if settings is None:
        return ()
    chosen = [_chosen(text) for text in settings.backends]
    return tuple(
        PlannedClaim(name=name, backend=backend, mode=mode, seeds=settings.seeds, threads=settings.threads, skip=reason)
        for backend, mode, reason in chosen
        if not only or backend in only or f"{backend}:{mode}" in only
        for name in _names(settings)
    )


def _names(settings: ClaimSettings) -> Iterator[str]:
    from cnnbench.claims.claim import claims

    for name, claim in claims().items():
        if name in settings.names or (not settings.names and (settings.trained or not claim.trains)):
            yield name


def _chosen(text: str) -> tuple[str, str, str | None]:
    """Backend, mode, and why it cannot be used here."""
    from cnnbench.execution.backends import backend_in_mode

    plugin, mode = backend_in_mode(text)
    reason = plugin.unavailable()
    if reason is None and "float64" not in plugin.precisions[mode]:
        reason = f"{plugin.name} has no float64 in mode {mode}"
    return plugin.name, mode, reason


def wrong_claims(settings: ClaimSettings | None) -> Iterator[tuple[tuple[str | int, ...], SuiteError]]:
    """(path within the suite, error) for each claim and backend that is not known."""
    if settings is None:
        return
    from cnnbench.claims.claim import claims

    known = claims()
    for number, name in enumerate(settings.names):
        if name not in known:
            remedy = did_you_mean(name, known)
            yield ("claims", "names", number), SuiteError(f"unknown claim {name!r}", remedy=remedy)
    for number, text in enumerate(settings.backends):
        try:
            _chosen(text)
        except CnnbenchError as error:
            yield ("claims", "backends", number), SuiteError(error.message, remedy=error.remedy)
