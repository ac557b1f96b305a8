"""``cnnbench list``: what there is to run, to run on, and what has been run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json, print_table

application = typer.Typer(help="List what there is.", no_args_is_help=True, rich_markup_mode=None)

Rows = list[dict[str, Any]]


def _print(rows: Rows, columns: Sequence[str], json: bool, empty: str = "none") -> None:
    if json:
        print_json(rows)
    elif rows:
        print_table(columns, [[_shown(column, row[column]) for column in columns] for row in rows])
    else:
        echo(empty)


def _shown(column: str, value: Any) -> object:
    if column == "year":
        return str(value)  # not a quantity
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_shown(column, item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or None
    return value


@application.command("architectures")
@grouped
def architectures(shown: o.Shown) -> None:
    """The registered networks, with what their source says of them."""
    from cnnbench.registry import architectures as known

    rows = [
        {
            "name": item.name,
            "family": item.family,
            "task": item.task,
            "year": item.year,
            "parameters": item.facts.parameters,
            "macs": item.facts.macs,
            "input": "x".join(map(str, item.facts.input)),
            "num_classes": item.num_classes,
            "source": item.source,
        }
        for item in sorted(known().values(), key=lambda item: (item.year, item.family))
    ]
    _print(rows, ("name", "family", "task", "year", "parameters", "macs", "input", "source"), shown.json)


@application.command("backends")
@grouped
def backends(shown: o.Shown) -> None:
    """The backends, whether they can be used here, and what they say they can do."""
    from cnnbench.execution.backends import backend_plugins

    rows = []
    for plugin in backend_plugins().values():
        reason = plugin.unavailable()
        rows.append(
            {
                "name": plugin.name,
                "available": reason is None,
                "status": "available" if reason is None else reason,
                "version": version(plugin.distribution) if reason is None else None,
                "modes": list(plugin.modes),
                "native_modes": list(plugin.native_modes),
                "precisions": {mode: list(plugin.precisions[mode]) for mode in plugin.modes},
                "devices": list(plugin.devices),
                "layouts": list(plugin.layouts),
            }
        )
    _print(rows, ("name", "version", "modes", "precisions", "devices", "status"), shown.json)


def version(distribution: str) -> str | None:
    """The version of an installed distribution, or None."""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


@application.command("layers")
@grouped
def layers(
    backend: Annotated[
        list[str], typer.Option("-b", "--backend", metavar="NAME", help="Load this backend and say what it supports.")
    ] = [],  # noqa: B006 - typer copies it
    backends: Annotated[
        bool, typer.Option("--backends", help="Load every backend that is here; --json always does.")
    ] = False,
    *,
    shown: o.Shown,
) -> None:
    """The layer kinds and what uses them, and with --backends or --json what each backend makes of them."""
    from cnnbench.cli.layer_listing import backend_columns, layer_rows, plain_rows

    chosen = backend or None if backend or backends or shown.json else []
    rows = layer_rows(chosen)
    if shown.json:
        print_json(rows)
    elif chosen == []:
        _print(plain_rows(rows), ("kind", "family", "budget", "differentiable", "fields", "used_by"), shown.json)
    else:
        backend_columns(rows)


@application.command("datasets")
@grouped
def datasets(shown: o.Shown) -> None:
    """The datasets, and whether they are here."""
    from cnnbench.training.data import datasets as known

    rows = [
        {"name": name, "status": item.lack or "available", "about": item.description} for name, item in known().items()
    ]
    _print(rows, ("name", "status", "about"), shown.json)


@application.command("programs")
@grouped
def programs(shown: o.Shown) -> None:
    """The training programs: what they train, and on which data where a suite names none."""
    from cnnbench.training.programs.offered import training_programs

    rows = [
        {
            "name": name,
            "architecture": item.architecture,
            "data": dict(item.data),
            "source": item.source,
            "about": item.description,
        }
        for name, item in training_programs().items()
    ]
    _print(rows, ("name", "architecture", "data", "source", "about"), shown.json)


@application.command("views")
@grouped
def views(shown: o.Shown) -> None:
    """The views into a network, what each needs and computes, and the defects that 'view --fault' puts into it."""
    from cnnbench.views.faults import view_rows

    _print(view_rows(), ("name", "needs", "settings", "about"), shown.json)


@application.command("suites")
@grouped
def suites(
    folder: Annotated[
        Path | None, typer.Argument(help="Only those of this folder; else those that ship and ./suites.")
    ] = None,
    *,
    shown: o.Shown,
) -> None:
    """The suites that ship, by the names under which they are run, and the suite files of a folder."""
    from cnnbench.harness.suite.shipped import SUFFIXES, shipped_suites

    known = {} if folder is not None else shipped_suites()
    place = folder or Path("suites")
    files = [path for path in sorted(place.glob("*")) if path.suffix in SUFFIXES]
    own = {path.resolve() for path in known.values()}
    rows = [_suite(name, path) for name, path in known.items()]
    rows += [_suite(str(path), path) for path in files if path.resolve() not in own]
    _print(rows, ("suite", "description", "error"), shown.json, f"no suite file in {place}")


def _suite(name: str, path: Path) -> dict[str, Any]:
    from cnnbench.errors import SuiteError
    from cnnbench.harness.suite.file import load_suite

    try:
        suite = load_suite(path)
    except SuiteError as error:
        reason = str(error).splitlines()[0]
        return {"suite": name, "file": str(path), "name": None, "description": None, "error": reason}
    facts = {"name": suite.name, "description": suite.description, "error": None}
    return {"suite": name, "file": str(path), **facts}


@application.command("faults")
@grouped
def faults(
    kill: Annotated[
        list[str],
        typer.Option("--kill", metavar="BACKEND[:MODE]", help="Inject each into this backend and see it caught."),
    ] = [],  # noqa: B006
    fault: Annotated[list[str], typer.Option("--fault", metavar="NAME", help="Only this one (repeatable).")] = [],  # noqa: B006
    precision: o.Precision = "float32",
    seed: Annotated[int, typer.Option(min=0, help="Of the configurations' data.")] = 0,
    *,
    shown: o.ShownQuietly,
) -> None:
    """The defects that 'verify --fault' can inject; with --kill, each injected into a backend and what caught it."""
    from cnnbench.cli.fault_listing import Asked, show_kills
    from cnnbench.numerics.faults import fault as find
    from cnnbench.numerics.faults import faults as known

    chosen = [find(name) for name in fault] or list(known().values())
    if kill:
        asked = Asked(tuple(kill), tuple(item.name for item in chosen), precision, seed)
        raise typer.Exit(show_kills(asked, json=shown.json, quiet=shown.quiet))
    rows = [
        {"name": item.name, "kind": item.kind, "check": item.check, "node": item.node, "about": item.description}
        for item in chosen
    ]
    _print(rows, ("name", "kind", "check", "about"), shown.json)


@application.command("runs")
@grouped
def runs(
    folder: Annotated[Path, typer.Argument(help="Where runs' folders lie.")] = o.RUNS,
    *,
    shown: o.Shown,
) -> None:
    """The runs that lie in a folder, oldest first."""
    from cnnbench.harness.run.exit_codes import MEANING
    from cnnbench.harness.run.lookup import summary_of
    from cnnbench.harness.run.store import runs as known

    rows = []
    for path in known(folder):
        summary = summary_of(path)
        rows.append(
            {
                "run": path.name,
                "suite": path.parent.name,
                "cells": None if summary is None else len(summary.rows),
                "exit_code": None if summary is None else summary.exit_code,
                "outcome": "did not end; --resume continues it" if summary is None else MEANING[summary.exit_code],
                "folder": str(path),
            }
        )
    _print(rows, ("run", "suite", "cells", "exit_code", "outcome"), shown.json, f"no run in {folder}")
