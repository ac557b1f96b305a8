"""``reduce``: a network that fails on a backend, cut to the smallest one that fails in the same way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from cnnbench.errors import SuiteError, UnavailableError, did_you_mean
from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision as find_precision
from cnnbench.face.backends import ChosenBackend, chosen_backend
from cnnbench.face.keywords import ReduceKeywords, takes
from cnnbench.face.networks import Network, load_examined
from cnnbench.fuzzing.examination import Series, examine, finding, reduced
from cnnbench.fuzzing.findings import Finding
from cnnbench.fuzzing.upstream import upstream_report
from cnnbench.fuzzing.workers import worker_series
from cnnbench.harness.run.exit_codes import OK, WRONG_NUMBERS
from cnnbench.harness.run.files import check_folder_writable
from cnnbench.measurement.clock import Clock
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import CHECKS
from cnnbench.numerics.faults import faulty_subject
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.spec.draws import draw_inputs

CHECK = "end_to_end"
BATCH = 2


@dataclass(frozen=True)
class Reduced:
    """What became of a network that was to be reduced.

    Args:
        outcome: Of the check on the whole network.
        finding: The smallest network that fails in the same way; None where the whole one does not fail.
        report: A text for the framework's tracker, in Markdown. files: the reproducer and the text, where a folder was
            given.
    """

    outcome: CheckOutcome
    finding: Finding | None = None
    report: str = ""
    files: tuple[Path, ...] = ()

    @property
    def exit_code(self) -> int:
        """4 where the network fails."""
        return OK if self.finding is None else WRONG_NUMBERS


@takes(ReduceKeywords)
def reduce(network: Network, backend: str, **how: Unpack[ReduceKeywords]) -> Reduced:
    """Cuts a network on which a check fails to the smallest one that still fails: nodes, then shapes, fields, values.

    A node that is cut away leaves its exact values as inputs. So a program that goes wrong where a compiler fuses or
    folds, while each node alone is right, is cut to the nodes that it takes together.

    Args:
        network: As ``load`` takes it.
        backend: ``NAME`` or ``NAME:MODE``; it runs in a process of its own.
        how: The keywords below.

    Raises:
        SuiteError: An unknown check, a mode that the backend has not.
        UnavailableError: An unknown backend, or one that cannot be used.
        SpecError, DataError: As ``load``.
    """
    check = how.get("check", CHECK)
    if check not in CHECKS:
        raise SuiteError(f"unknown check {check!r}", where="--check", remedy=did_you_mean(check, CHECKS))
    policy, seed = find_precision(how.get("precision", "float32")), how.get("seed", 0)
    chosen = chosen_backend(backend, policy.name)
    if chosen.reason is not None:
        raise UnavailableError(chosen.reason, where=chosen.plugin.name)
    folder = None if (given := how.get("folder")) is None else Path(given)
    if folder is not None:
        check_folder_writable(folder, "--output")
    model = load_examined(network, how.get("weights"), seed=seed, image=how.get("image"))
    options = ProgramOptions(chosen.mode, policy, fold_batch_norm=how.get("fold_batch_norm", False))
    inputs = draw_inputs(model.graph, seed, how.get("batch", BATCH))
    case = Case(model.graph, model.arrays, inputs, options, seed=seed)
    with _series(chosen, how.get("fault"), how.get("threads")) as series:
        return reduced_failure(series, case, check, folder)


def reduced_failure(series: Series, case: Case, check: str, folder: Path | None = None) -> Reduced:
    """The smallest case that fails as this one does, with its report.

    Args:
        series: Who runs it.
        case: In the series' mode.
        check: Of ``CHECKS``.
        folder: Where reproducer and report go; None for nowhere.
    """
    outcomes, failures = examine(series, case, [check])
    if not failures:
        return Reduced(outcomes[0])
    failure = failures[0]
    small, outcome = reduced(series, case, failure, [check], Clock())
    found = finding(series, case, small, failure._replace(outcome=outcome), 0, folder)
    text = upstream_report(found, small, case)
    files: tuple[Path, ...] = ()
    if folder is not None and found.file is not None:
        files = (folder / found.file, (folder / found.file).with_suffix(".md"))
        files[1].write_text(text, encoding="utf-8")
    return Reduced(failure.outcome, found, text, files)


@contextlib.contextmanager
def _series(chosen: ChosenBackend, fault: str | None, threads: int | None) -> Iterator[Series]:
    """The backend in a worker; in this process where a fault is injected into it."""
    if fault is None:
        with worker_series([(chosen.plugin, chosen.mode)], threads) as series:
            yield series[0]
        return
    loaded = chosen.load(ProcessSettings(threads=threads))
    subject, plugin = faulty_subject(loaded, fault), chosen.plugin
    precisions, version = plugin.precisions[chosen.mode], loaded.describe().get("version", "")
    yield Series(plugin.name, chosen.mode, lambda: subject, precisions, plugin.layouts, lambda: {plugin.name: version})
