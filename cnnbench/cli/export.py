"""``cnnbench export``: a network as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json


@grouped
def export(
    network: o.Network,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="F.onnx", help="The file to write.", show_default=False)
    ],
    weights: o.Weights,
    precision: Annotated[str, typer.Option(help="Of floats in the file: float32 or float64.")] = "float32",
    check: Annotated[bool, typer.Option(help="Read the file back, and run both on one image in float64.")] = True,
    *,
    shown: o.Shown,
) -> None:
    """Write a network with its weights as an ONNX file (opset 21), read back and compared."""
    from cnnbench.face.exporting import export as exported
    from cnnbench.harness.run.files import check_writable

    check_writable(output, "--output")
    found = exported(
        network.architecture,
        output,
        check=check,
        weights=weights.weights,
        seed=weights.seed,
        image=network.shape or None,
        num_classes=network.num_classes,
        precision=precision,
    )
    if shown.json:
        print_json(
            {"file": str(found.path), "network": found.network, "operators": dict(found.nodes), "apart": found.apart}
        )
        return
    compared = "" if found.apart is None else f"; read back, its outputs are {found.apart:.1e} of the largest apart"
    echo(f"wrote {found.network} to {found.path}: {sum(found.nodes.values())} nodes{compared}")
