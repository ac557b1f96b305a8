"""The recorders that plugins registered, and those of them that a run sends its records to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cnnbench.errors import SuiteError, did_you_mean
from cnnbench.plugins import gathered_mappings

if TYPE_CHECKING:
    from cnnbench.harness.run.extensions import Recorder


def registered_recorders() -> dict[str, Recorder]:
    """Every plugin's recorders by name."""
    found: dict[str, Recorder] = {}
    for group in gathered_mappings("cnnbench_recorders"):
        found |= group
    return found


def chosen_recorders(chosen: Sequence[str] | Mapping[str, Recorder] | None) -> Mapping[str, Recorder]:
    """The recorders by name: all that are registered for None, those named, or those given.

    Raises:
        SuiteError: A name that nobody registered.
    """
    if isinstance(chosen, Mapping):
        return chosen
    known = registered_recorders()
    if chosen is None:
        return known
    for name in chosen:
        if name not in known:
            raise SuiteError("there is no such recorder", received=name, remedy=did_you_mean(name, known))
    return {name: known[name] for name in chosen}
