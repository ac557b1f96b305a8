"""``fuzz``: random networks on every backend and mode, judged by budgets; it goes on where its folder says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from cnnbench.errors import UnavailableError
from cnnbench.execution.backends import backend_plugins
from cnnbench.face.backends import chosen_backend
from cnnbench.face.keywords import takes
from cnnbench.fuzzing.campaign import Campaign, Limits
from cnnbench.fuzzing.coverage import kinds_seen
from cnnbench.fuzzing.findings import Finding
from cnnbench.fuzzing.network import fuzzed_kinds
from cnnbench.fuzzing.progress import Progress
from cnnbench.fuzzing.workers import worker_series
from cnnbench.harness.run.exit_codes import INCONCLUSIVE, OK, WRONG_NUMBERS
from cnnbench.harness.run.files import check_folder_writable

if TYPE_CHECKING:
    from cnnbench.execution.contract import BackendPlugin

MINUTES = 10.0
REFERENCE = "reference"  # the mode that is the judge


class FuzzKeywords(TypedDict, total=False):
    """How networks are run, and who hears of it.

    Args:
        threads: Computing threads.
        on_event: Called with the progress after each network, and with each new finding.
    """

    threads: int | None
    on_event: Callable[[Progress | Finding], None]


@dataclass(frozen=True)
class FuzzResult:
    """What a call of ``fuzz`` did.

    Args:
        progress: All that the folder knows, earlier calls included.
        new: What this call found that was neither known nor found before.
        networks: That this call ran.
    """

    progress: Progress
    new: tuple[Finding, ...]
    networks: int

    @property
    def exit_code(self) -> int:
        """4 where something new was found, 5 where no network was run, else 0."""
        if self.new:
            return WRONG_NUMBERS
        return OK if self.networks else INCONCLUSIVE

    @property
    def unseen(self) -> tuple[str, ...]:
        """The kinds that no network has held so far."""
        seen = kinds_seen(self.progress.coverage)
        return tuple(kind for kind in fuzzed_kinds() if kind not in seen)


@takes(FuzzKeywords)
def fuzz(
    backends: Sequence[str] = (),
    *,
    count: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    folder: Path | str | None = None,
    **how: Unpack[FuzzKeywords],
) -> FuzzResult:
    """Runs random networks on each backend and mode against the float64 reference, and reduces what fails.

    Args:
        backends: ``NAME`` or ``NAME:MODE`` each; () for every one that is here in each of its modes.
        count: So many networks.
        minutes: So long; whichever is first. 10 where neither is given.
        seed: Of the sequence of networks: each is made from the seed and its number alone.
        folder: Where progress, findings and reproducers are kept, and from where a killed call goes on.
        how: The keywords below.

    Raises:
        UnavailableError: An unknown backend, or none that can be used. SuiteError: a mode that a backend has not, or
            another seed's folder. StorageError: nothing can be written to the folder.
    """
    kept = None if folder is None else Path(folder)
    if kept is not None:
        check_folder_writable(kept, "--output")

    def nothing(event: Progress | Finding) -> None:
        pass

    heard = how.get("on_event", nothing)
    minutes = MINUTES if minutes is None and count is None else minutes
    limits = Limits(count, None if minutes is None else minutes * 60)
    begun: list[int] = []
    with worker_series(_chosen(backends), how.get("threads")) as series:
        campaign = Campaign(series, seed, kept, on_network=heard, on_finding=heard, on_start=begun.append)
        progress, new = campaign.run(limits)
    return FuzzResult(progress, new, progress.number - begun[0])


def _chosen(names: Sequence[str]) -> list[tuple[BackendPlugin, str]]:
    """The backends and modes that are meant and can be used."""
    if names:
        asked = [chosen_backend(name) for name in names]
        for item in asked:
            if item.reason is not None:
                raise UnavailableError(item.reason, where=item.plugin.name)
        return [(item.plugin, item.mode) for item in asked]
    here = [plugin for plugin in backend_plugins().values() if plugin.unavailable() is None]
    return [(plugin, mode) for plugin in here for mode in plugin.modes if mode != REFERENCE]
