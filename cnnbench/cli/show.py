"""``cnnbench show``: a network's nodes, shapes, parameters and work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json, print_table

if TYPE_CHECKING:
    from cnnbench.spec.graph import Graph


@grouped
def show(
    network: o.Network,
    graph_file: Annotated[
        Path | None, typer.Option("--graph", metavar="F.svg", help="Also draw the network, its blocks folded.")
    ] = None,
    *,
    shown: o.Shown,
) -> None:
    """Show a network: its nodes, output shapes, parameters, multiply-accumulates and receptive fields."""
    from cnnbench.registry import architectures
    from cnnbench.spec.summary import summarize

    graph = network.build()
    if graph_file is not None:
        _draw(graph, graph_file)
    summary, registered = summarize(graph), architectures().get(network.architecture)
    data = summary.to_json(registered)
    if shown.json:
        print_json(data)
    else:
        _print(data)
    if registered is not None and network.is_as_declared:
        for text in summary.contradictions(registered.facts):
            echo(f"note: {text}", err=True)


def _draw(graph: Graph, path: Path) -> None:
    from cnnbench.errors import SuiteError
    from cnnbench.harness.run.files import write_atomically
    from cnnbench.output.network_drawing import draw

    if path.suffix.lower() != ".svg":
        raise SuiteError("drawings are SVG files", where="--graph", received=path.name, expected="a name with .svg")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, draw(graph))
    echo(f"drew {path}", err=True)


def _print(data: dict[str, Any]) -> None:
    from cnnbench.output.layer_settings import settings

    headers = ["node", "kind", "inputs", "output", "parameters", "MACs", "receptive field", "settings"]
    rows: list[tuple[object, ...]] = [
        (
            node["name"],
            node["kind"],
            " ".join(node["inputs"]),
            "x".join(map(str, node["output_shape"])),
            node["parameters"],
            node["macs"],
            "x".join(map(str, node["receptive_field"] or ())) or None,
            settings(node["fields"]) or None,
        )
        for node in data["nodes"]
    ]
    if any(node["weights_of"] for node in data["nodes"]):  # whose parameters are counted once
        headers.append("shares weights of")
        rows = [(*row, node["weights_of"]) for row, node in zip(rows, data["nodes"], strict=True)]
    print_table(headers, rows)
    echo(f"\n{data['name']}: {data['source']}" if data["source"] else f"\n{data['name']}")
    for label, key in (("parameters", "parameters"), ("buffers", "buffers"), ("MACs", "macs")):
        echo(f"  {label}: {data[key]:,}")
    if data["macs_attention"]:
        echo(f"  MACs of attention: {data['macs_attention']:,}")
    if data["parameters_inference"] != data["parameters"]:
        echo(f"  parameters at inference: {data['parameters_inference']:,}")
    for name, meaning in data["meanings"].items():
        said = f": {meaning['text']} [{meaning['unit']}]" if meaning is not None else ""
        echo(f"  output {name} {tuple(data['outputs'][name])}{said}")
