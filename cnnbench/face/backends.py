"""Which backend, in which mode, a caller means, and why it cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnnbench.errors import CnnbenchError, UnavailableError, did_you_mean
from cnnbench.execution.backends import backend_in_mode, backend_plugins, load_backend
from cnnbench.execution.precision import precision as find_precision

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend, BackendPlugin, ProcessSettings


@dataclass(frozen=True)
class ChosenBackend:
    """A backend in one of its modes.

    Args:
        reason: Why it cannot be used here, or None.
    """

    plugin: BackendPlugin
    mode: str
    reason: str | None

    @property
    def series(self) -> str:
        """As tables name it: ``torch eager``."""
        return f"{self.plugin.name} {self.mode}"

    def load(self, settings: ProcessSettings) -> Backend:
        """Imports the framework. Raises UnavailableError where the backend cannot be used."""
        if self.reason is not None:
            raise UnavailableError(self.reason, where=self.plugin.name)
        backend = load_backend(self.plugin.name)
        backend.configure(settings)
        return backend


def chosen_backend(
    text: str, precision: str = "float32", where: str = "backend", *, native: bool = False
) -> ChosenBackend:
    """The backend that ``NAME`` or ``NAME:MODE`` means, in its default mode where none is named.

    Args:
        text: What was given.
        precision: The policy that it must have.
        where: What errors call the place: an option, an argument.
        native: Whether it may be a mode that runs the user's own program.

    Raises:
        UnavailableError: An unknown backend or precision. SuiteError: a mode that it has not.
    """
    policy = find_precision(precision).name
    try:
        plugin, mode = backend_in_mode(text, native=native)
    except CnnbenchError as error:
        raise error.at(where) from None
    reason = plugin.unavailable()
    if reason is None and policy not in plugin.precisions[mode]:
        reason = f"{plugin.name} has no {policy!r} in mode {mode}: {did_you_mean(policy, plugin.precisions[mode])}"
    return ChosenBackend(plugin, mode, reason)


def chosen_backends(names: Sequence[str], precision: str, *, native: bool = False) -> list[ChosenBackend]:
    """Each backend that is named, or every known one where none is. Raises as ``chosen_backend``.

    Args:
        names: ``NAME`` or ``NAME:MODE`` each; empty for all.
        precision: The policy that each must have.
        native: As in ``chosen_backend``.
    """
    return [chosen_backend(text, precision, "backends", native=native) for text in names or backend_plugins()]
