"""The check of training programs for ``verify``: in this process, the reference's rounds once for all backends."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbench.errors import SpecError, SuiteError, UnavailableError, did_you_mean, nearest
from cnnbench.numerics.checks import CHECKS
from cnnbench.numerics.checks.program import NAME, ROUNDS, ExpectedRounds, expected_rounds, judge_rounds
from cnnbench.numerics.outcome import REFUSED, CheckOutcome
from cnnbench.registry import architectures
from cnnbench.training.programs.offered import ProgramPlugin, training_programs

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend, ProgramOptions


def asked_checks(network: Any, checks: Sequence[str]) -> tuple[tuple[str, ...], tuple[ProgramPlugin, ...]]:
    """The checks of the network itself, and the training programs to check.

    A program is meant by its own name, or by its network's where the check ``program`` is asked for.

    Args:
        network: As ``verify`` takes it.
        checks: Names; () for all.

    Raises:
        SpecError: A name that is neither, nearest to a training program's.
        SuiteError: The check ``program`` of a network that no program trains.
    """
    known = training_programs() if isinstance(network, str) else {}
    if isinstance(network, str) and not Path(network).suffix:
        _refuse_unknown_program(network, known)
    own = [known[network]] if isinstance(network, str) and network in known else []
    if NAME in checks and not own:
        own = [plugin for plugin in known.values() if plugin.architecture == network]
        if not own:
            names = sorted({name for plugin in known.values() for name in (plugin.name, plugin.architecture)})
            remedy = did_you_mean(network, names) if isinstance(network, str) else None
            raise SuiteError(f"no training program trains {network!s:.80}", where=f"check {NAME!r}", remedy=remedy)
    if isinstance(network, str) and network in known and network not in architectures():
        if others := [name for name in checks if name != NAME]:
            text = f"{network} is a training program, which has the check {NAME!r} alone"
            raise SuiteError(
                text, received=", ".join(others), remedy=f"name its network: {known[network].architecture}"
            )
        return (), tuple(own)
    if not checks:
        return tuple(CHECKS), tuple(own)
    return tuple(name for name in checks if name != NAME), tuple(own if NAME in checks else ())


def _refuse_unknown_program(network: str, known: Collection[str]) -> None:
    """Raises SpecError for a name that is nothing, and nearest to a program's."""
    names = {*known, *architectures()}
    if network not in names and nearest(network, sorted(names)) in known:
        raise SpecError(f"unknown network or training program {network!r}", remedy=did_you_mean(network, names))


@dataclass(frozen=True)
class ProgramChecks:
    """The programs that are checked on one backend after another.

    Args:
        plugins: Which.
        image: The input of their network.
        seed: Of arrays, batches and draws.
        batch: Images a step.
    """

    plugins: Iterable[ProgramPlugin]
    image: tuple[int, ...]
    seed: int
    batch: int
    _expected: dict[str, ExpectedRounds] = field(default_factory=dict)

    def outcomes(self, backend: Backend, options: ProgramOptions) -> list[CheckOutcome]:
        """One outcome for each program.

        Args:
            backend: Loaded.
            options: Of its programs.
        """
        return [self._outcome(plugin, backend, options) for plugin in self.plugins]

    def _outcome(self, plugin: ProgramPlugin, backend: Backend, options: ProgramOptions) -> CheckOutcome:
        from cnnbench.numerics.program_course import taken
        from cnnbench.training.programs.images import load_data
        from cnnbench.training.programs.runner import ProgramRunner, RoundSettings, compiled_on

        program = plugin.build(self.image)
        settings = RoundSettings(self.batch, plugin.learning_rate, self.seed, tuple(sorted(plugin.data.items())))
        try:
            runner = ProgramRunner(program, compiled_on(backend, options), settings, load_data(program, settings))
            if plugin.name not in self._expected:
                self._expected[plugin.name] = expected_rounds(runner, options.precision)
            return judge_rounds(taken(runner, ROUNDS), self._expected[plugin.name], options.precision)
        except UnavailableError as error:
            return CheckOutcome(name=NAME, status="skipped", message=str(error), details={REFUSED: True})
