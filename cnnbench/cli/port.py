"""``cnnbench port``: whether a network is a port of another, and if not, where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json


@dataclass(frozen=True)
class _Networks:
    """The two networks, and for which images they are built."""

    reference: Annotated[
        str, typer.Argument(metavar="REFERENCE", help="The network that is right.", show_default=False)
    ]
    candidate: Annotated[
        str, typer.Argument(metavar="CANDIDATE", help="The network that should be the same.", show_default=False)
    ]
    image: o.Image = None


@grouped
def port(
    networks: _Networks,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="F.md", help="A report: .md, .html or .json.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--reproduce", metavar="DIR", help="Write the first node where they part here.")
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Compare gradients; count momentum, dropout's rate, the kept variance.")
    ] = False,
    seed: o.Seed = 0,
    *,
    shown: o.Shown,
) -> None:
    """Compare a network with the one that it was ported from; exit 4 where they differ."""
    from cnnbench.face.porting import port as ported
    from cnnbench.harness.run.files import check_writable, write_atomically
    from cnnbench.porting.report import lines, to_html, to_json, to_markdown

    writers = {".md": to_markdown, ".html": to_html, ".json": None}
    if output is not None:
        if output.suffix.lower() not in writers:
            from cnnbench.errors import SuiteError

            raise SuiteError(
                "the report cannot have that ending",
                where="--output",
                received=output.name,
                expected=", ".join(writers),
            )
        check_writable(output, "--output")
    image = o.parse_image(networks.image)
    result = ported(networks.reference, networks.candidate, image=image, train=train, seed=seed, folder=folder)
    if output is not None:
        import json

        writer = writers[output.suffix.lower()]
        write_atomically(output, json.dumps(to_json(result), indent=2) if writer is None else writer(result))
    if shown.json:
        print_json(to_json(result))
    else:
        for line in lines(result):
            echo(line)
    raise typer.Exit(result.exit_code)
