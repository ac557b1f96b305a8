"""``cnnbench weights``: canonical weight files, made, imported and looked at."""

from __future__ import annotations

import json as json_module
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json, print_table

if TYPE_CHECKING:
    from cnnbench.spec.graph import Graph
    from cnnbench.training.starts import WeightStart

application = typer.Typer(help="Make, import and inspect weight files.", no_args_is_help=True, rich_markup_mode=None)

Output = Annotated[
    Path, typer.Option("-o", "--output", metavar="F.safetensors", help="The file to write.", show_default=False)
]


@dataclass(frozen=True)
class StartingWeights:
    """By which rule weights start, and from which file."""

    rule: Annotated[
        str | None, typer.Option("--init", metavar="NAME", help="he_normal_fan_in, orthogonal, torch_default, lsuv ...")
    ] = None
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DATASET", help="Of the images that lsuv sees; else random."),
    ] = None
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Weights to start from where name and shape agree.")
    ] = None
    shallow: Annotated[
        str | None, typer.Option("--of", metavar="NETWORK", help="Of which network FILE is: layers match in order.")
    ] = None
    first: Annotated[int, typer.Option("--first", metavar="N", min=0, help="How many layers from its input.")] = 4
    last: Annotated[int, typer.Option("--last", metavar="N", min=0, help="How many layers from its output.")] = 3


@application.command("init")
@grouped
def init(network: o.Network, output: Output, seed: o.Seed = 0, *, start: StartingWeights, shown: o.Shown) -> None:
    """Write a network's seeded initial weights and running statistics, by a named rule or from other weights."""
    from cnnbench.harness.run.files import check_writable
    from cnnbench.spec.weights import digest, save
    from cnnbench.training.starts import started

    check_writable(output, "--output")
    graph = network.build()
    arrays, taken = started(graph, seed, _start(start, network))
    origin = {} if start.rule is None else {"initializer": start.rule}
    save(arrays, output, metadata=_origin(graph, seed=seed, **origin))
    facts = {"file": str(output), "arrays": len(arrays), "digest": digest(arrays), "graph": graph.digest}
    if shown.json:
        print_json({**facts, "initializer": start.rule, "taken": list(taken)})
    else:
        echo(f"wrote {len(arrays)} arrays of {graph.name} to {output} (sha256 {facts['digest']})")
        if start.source is not None:
            echo(f"{len(taken)} of them are those of {start.source}: {', '.join(taken)}")


def _start(given: StartingWeights, network: o.Network) -> WeightStart:
    """What the options ask for. Raises SuiteError, SpecError, DataError."""
    from cnnbench.errors import SuiteError
    from cnnbench.face.networks import build
    from cnnbench.registry import read_weights
    from cnnbench.spec.interchange.weight_files import fit
    from cnnbench.training.starts import Shallow, WeightStart

    if given.shallow is not None and given.source is None:
        raise SuiteError("--of says of which network the file of --from is", remedy="give --from FILE too")
    if given.source is None:
        return WeightStart(given.rule, given.data)
    arrays = read_weights(given.source)
    if given.shallow is None:
        return WeightStart(given.rule, given.data, dict(arrays))
    shallow = build(given.shallow, network.shape, network.num_classes)
    fitted = fit(shallow, arrays, where=str(given.source)).arrays
    return WeightStart(given.rule, given.data, fitted, Shallow(shallow, given.first, given.last))


@application.command("import")
@grouped
def import_(
    network: o.Network,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A weights file of another program.")],
    output: Output,
    accept_differences: Annotated[
        bool, typer.Option("--accept-differences", help="Write weights whose own network computes something else.")
    ] = False,
    *,
    shown: o.Shown,
) -> None:
    """Convert another program's weights to canonical names and layouts: by name, else by order and shape."""
    from cnnbench.harness.run.files import check_writable
    from cnnbench.registry import read_weights
    from cnnbench.spec.interchange.weight_files import fit, refuse_differences
    from cnnbench.spec.weights import digest, save

    check_writable(output, "--output")
    graph = network.build()
    fitted = fit(graph, read_weights(source), where=str(source))
    if not accept_differences:
        refuse_differences(graph, fitted, where=str(source))
    arrays = fitted.arrays
    save(arrays, output, metadata=_origin(graph, file=source.name))
    facts = {
        "file": str(output),
        "arrays": len(arrays),
        "digest": digest(arrays),
        "graph": graph.digest,
        "notes": list(fitted.notes),
        "differences": list(fitted.differences),
    }
    if shown.json:
        print_json(facts)
    else:
        for note in fitted.notes:
            echo(f"note: {note}")
        for difference in fitted.differences:
            echo(f"difference: {difference}")
        echo(f"wrote {len(arrays)} arrays of {graph.name} to {output} (sha256 {facts['digest']})")


@application.command("inspect")
@grouped
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A weights file of any format that can be imported.")],
    shown: o.Shown,
) -> None:
    """List a file's arrays with their shapes and ranges."""
    from cnnbench.registry import read_weights
    from cnnbench.spec.interchange.fitting import FileArrays
    from cnnbench.spec.weights import digest

    arrays = read_weights(file)
    notes = list(arrays.notes) if isinstance(arrays, FileArrays) else []
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "dtype": str(array.dtype),
            "shape": list(array.shape),
            "values": int(array.size),
            **({key: _finite(getattr(array, key)()) for key in ("min", "max", "mean")} if array.size else {}),
        }
        for name, array in arrays.items()
    ]
    if shown.json:
        print_json({"file": str(file), "digest": digest(arrays), "arrays": rows, "notes": notes})
        return
    print_table(
        ("name", "dtype", "shape", "values", "min", "max", "mean"),
        [
            (
                row["name"],
                row["dtype"],
                "x".join(map(str, row["shape"])) or "()",
                row["values"],
                *(None if row.get(key) is None else f"{row[key]:.4g}" for key in ("min", "max", "mean")),
            )
            for row in rows
        ],
    )
    for note in notes:
        echo(f"note: {note}")
    echo(f"\n{len(arrays)} arrays, {sum(row['values'] for row in rows):,} values, sha256 {digest(arrays)}")


def _origin(graph: Graph, **facts: object) -> dict[str, str]:
    """One metadata entry: a safetensors file with several has them in no fixed order."""
    content = {"architecture": graph.name, "graph": graph.digest, **facts}
    return {"cnnbench": json_module.dumps(content, sort_keys=True)}


def _finite(value: float) -> float | None:
    """A number that JSON can hold, None for NaN and infinities."""
    number = float(value)
    return number if abs(number) != float("inf") and number == number else None
