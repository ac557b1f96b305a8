"""``cnnbench verify``: the numerical checks of one network in this process, with or without an injected fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbench.cli import options as o
from cnnbench.cli.asked import asked_network
from cnnbench.cli.terminal import print_json, print_table, stdout_reserved

if TYPE_CHECKING:
    from cnnbench.execution.contract import BackendPlugin, ProgramOptions
    from cnnbench.numerics.case import Case
    from cnnbench.numerics.outcome import CheckOutcome
    from cnnbench.numerics.subject import Subject
    from cnnbench.spec.graph import Graph
    from cnnbench.spec.weights import Arrays

MISMATCH = 4
NOTHING_CHECKED = 5


def verify(
    architecture: o.Network,
    backend: Annotated[
        list[str], typer.Option("-b", "--backend", metavar="NAME[:MODE]", help="Default: every one that is here.")
    ] = [],  # noqa: B006 - typer copies it
    check: Annotated[list[str], typer.Option(help="local, exact, end_to_end, gradient ... Default: all.")] = [],  # noqa: B006
    fault: Annotated[str | None, typer.Option(metavar="NAME", help="Inject a fault of 'list faults' first.")] = None,
    precision: o.Precision = "float32",
    fold_batch_norm: Annotated[bool, typer.Option("--fold-batch-norm", help="Of the end-to-end program.")] = False,
    weights: Annotated[Path | None, typer.Option(metavar="F.safetensors", help="Instead of seeded ones.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, inputs, masks and targets.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Images in a check.")] = 2,
    image: o.Image = None,
    num_classes: o.Classes = None,
    threads: o.Threads = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where files that reproduce failures go.")
    ] = Path("reports/verify"),
    json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Check a network's numbers on every backend against the float64 reference."""
    from cnnbench.numerics.checks import CHECKS, run_checks

    asked = _Asked(architecture, image, num_classes, weights, seed, batch, output, fault)
    chosen = chosen_backends(backend, precision or "float32")
    rows: list[dict[str, Any]] = []
    for plugin, mode, reason in chosen:
        if reason is not None:
            rows.append({"backend": plugin.name, "mode": mode, "status": "skipped", "message": reason, "checks": []})
            continue
        if not quiet and not json:
            typer.echo(f"{plugin.name} {mode} ...", err=True)
        with stdout_reserved():
            case = asked.case(_options(mode, precision or "float32", fold_batch_norm), f"{plugin.name}-{mode}")
            asked.require_reach(case)
            outcomes = run_checks(check or tuple(CHECKS), _subject(plugin, fault, threads), case)
        rows.append({"backend": plugin.name, "mode": mode, **_outcome(outcomes)})
    _show(architecture, fault, rows, json=json)
    states = {row["status"] for row in rows}
    if "failed" in states:
        raise typer.Exit(MISMATCH)
    if states <= {"skipped"}:
        raise typer.Exit(NOTHING_CHECKED)


def _outcome(outcomes: Sequence[CheckOutcome]) -> dict[str, Any]:
    """A backend's status with its checks, as plain data."""
    found = {outcome.status for outcome in outcomes}
    status = "failed" if "failed" in found else "passed" if "passed" in found else "skipped"
    checks = [outcome.model_dump(exclude={"nodes"}) for outcome in outcomes]
    return {"status": status, "message": "", "checks": checks}


@dataclass(frozen=True)
class _Asked:
    """The network, its arrays and its inputs: made once and shared by all backends."""

    architecture: str
    image: str | None
    num_classes: int | None
    weights: Path | None
    seed: int
    batch: int
    output: Path
    fault: str | None = None

    @cached_property
    def graph(self) -> Graph:
        """The network."""
        return asked_network(self.architecture, self.image, self.num_classes)

    @cached_property
    def arrays(self) -> Arrays:
        """Its weights and running statistics: of a file, or drawn from the seed."""
        from cnnbench.cli.asked import asked_arrays, network_name, parse_image

        image = parse_image(self.image, network_name(self.architecture))
        return asked_arrays(self.architecture, self.graph, self.weights, self.seed, image)

    @cached_property
    def inputs(self) -> Arrays:
        """Seeded normal numbers."""
        from cnnbench.spec.streams import stream

        return {
            item.name: stream(self.seed, "inputs", item.name).normal(size=item.full_shape(self.batch)).astype("float32")
            for item in self.graph.inputs
        }

    def case(self, options: ProgramOptions, series: str) -> Case:
        """The question for one backend."""
        from cnnbench.numerics.case import Case

        folder = self.output / f"{self.graph.name}-{series}"
        case = Case(self.graph, self.arrays, self.inputs, options, seed=self.seed, folder=folder)
        if self.fault is None:
            return case
        from cnnbench.numerics.faults import examined, fault

        return examined(case, fault(self.fault))

    def require_reach(self, case: Case) -> None:
        """Raises SuiteError where the fault that was asked for has nothing to change in this network."""
        if self.fault is not None:
            from cnnbench.numerics.faults import fault, require_reach

            require_reach(case, fault(self.fault))


def chosen_backends(
    names: Sequence[str], precision: str, option: str = "-b"
) -> list[tuple[BackendPlugin, str, str | None]]:
    """(plugin, mode, reason to skip) for each backend asked for; all of them where none is. Raises SuiteError."""
    from cnnbench.errors import SuiteError, UnavailableError, did_you_mean
    from cnnbench.execution.backends import backend_plugin, backend_plugins
    from cnnbench.execution.precision import precision as find_precision

    find_precision(precision)
    chosen = []
    for text in names or backend_plugins():
        name, _, mode = text.partition(":")
        try:
            plugin = backend_plugin(name)
        except UnavailableError as error:
            raise error.at(option) from None
        mode = mode or plugin.modes[0]
        if mode not in plugin.modes:
            raise SuiteError(f"{name} has no mode {mode!r}", where=option, remedy=did_you_mean(mode, plugin.modes))
        reason = plugin.unavailable()
        if reason is None and precision not in plugin.precisions[mode]:
            reason = f"{name} has no {precision} in mode {mode}"
        chosen.append((plugin, mode, reason))
    return chosen


def _options(mode: str, precision: str, fold_batch_norm: bool) -> ProgramOptions:
    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.execution.precision import precision as find_precision

    return ProgramOptions(mode, find_precision(precision), fold_batch_norm=fold_batch_norm)


def _subject(plugin: BackendPlugin, fault: str | None, threads: int | None) -> Subject:
    """The loaded backend, or a faulty one."""
    from cnnbench.execution.backends import load_backend
    from cnnbench.execution.contract import ProcessSettings
    from cnnbench.numerics.subject import InProcessSubject

    backend = load_backend(plugin.name)
    backend.configure(ProcessSettings(threads=threads))
    if fault is None:
        return InProcessSubject(backend)
    from cnnbench.numerics.faults import faulty_subject

    return faulty_subject(backend, fault)


def _show(architecture: str, fault: str | None, rows: Sequence[dict[str, Any]], *, json: bool) -> None:
    if json:
        print_json({"architecture": architecture, "fault": fault, "backends": list(rows)})
        return
    lines: list[tuple[object, ...]] = []
    for row in rows:
        series = f"{row['backend']} {row['mode']}"
        if not row["checks"]:
            lines.append((series, None, None, None, None, f"{row['status']}: {row['message']}"))
        for check in row["checks"]:
            used = [None if check[key] is None else f"{check[key]:.1%}" for key in ("budget_used", "worst_case_used")]
            lines.append((series, check["name"], *used, check["node"], check["status"]))
    print_table(("backend", "check", "budget used", "worst case used", "largest at", "outcome"), lines)
    for row in rows:
        for check in row["checks"]:
            if check["status"] != "passed" and check["message"]:
                typer.echo(f"\n{row['backend']} {row['mode']}, {check['name']} {check['status']}: {check['message']}")
                if check["reproducer"]:
                    typer.echo(f"reproduce with {check['reproducer']}")
