"""``cnnbench schema``: the JSON Schemas of suites, records and summaries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json


@grouped
def schema(
    name: Annotated[str | None, typer.Argument(help="suite, record or summary: print it.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write all of them to this folder.")] = None,
    verbose: o.Verbose = False,
) -> None:
    """Print a JSON Schema, or write all of them to a folder."""
    from cnnbench.errors import SuiteError, did_you_mean
    from cnnbench.harness.run.schema import as_text, schemas

    known = schemas()
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        for file, content in known.items():
            (output / file).write_text(as_text(content), encoding="utf-8")
            echo(f"wrote {output / file}")
    elif name is None:
        for file in known:
            echo(file.partition(".")[0])
    elif f"{name}.schema.json" in known:
        print_json(known[f"{name}.schema.json"])
    else:
        raise SuiteError(
            f"there is no schema {name!r}", remedy=did_you_mean(name, [f.partition(".")[0] for f in known])
        )
