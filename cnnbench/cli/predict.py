"""``cnnbench predict``: a forward pass in this process, from files to files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnbench.face.prediction import Prediction


@dataclass(frozen=True)
class Files:
    """What goes in and comes out."""

    output: Annotated[Path, typer.Option("-o", "--output", metavar="Y.npy", help="Where the main output goes.")]
    inputs: Annotated[
        list[str], typer.Option("--input", metavar="[NAME=]X.npy", help="Canonical layout (N, C, H, W); repeatable.")
    ]
    node: Annotated[
        list[str], typer.Option(metavar="NAME", help="Also write this node's output to Y.NAME.npy (repeatable).")
    ] = field(default_factory=list)


@dataclass(frozen=True)
class Execution:
    """How the network is run."""

    precision: o.Precision = "float32"
    mode: o.Mode = None
    layout: Annotated[str, typer.Option(help="auto, channels_first or channels_last.")] = "auto"
    fold_batch_norm: o.Folding = False
    num_classes: o.Classes = None
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1.")] = "cpu"
    threads: o.Threads = None


@grouped
def predict(
    architecture: o.Architecture,
    backend: o.Backend,
    files: Files,
    weights: o.Weights,
    program: Execution,
    shown: o.Shown,
) -> None:
    """Run a network forward on arrays from files."""
    from cnnbench.face.prediction import predict as predicted
    from cnnbench.harness.run.files import check_writable

    check_writable(files.output, "--output")
    x = _read_inputs(files.inputs)
    result = predicted(
        architecture,
        x[""] if list(x) == [""] else x,
        backend=backend if program.mode is None else f"{backend}:{program.mode}",
        weights=weights.weights,
        precision=program.precision,
        nodes=files.node,
        seed=weights.seed,
        num_classes=program.num_classes,
        layout=program.layout,
        fold_batch_norm=program.fold_batch_norm,
        device=program.device,
        threads=program.threads,
    )
    written = _write(result, files.output)
    if shown.json:
        names = ("backend", "mode", "precision")
        head = {"architecture": result.network, **{name: getattr(result, name) for name in names}}
        print_json({**head, "files": written})
    else:
        for item in written:
            echo(f"{item['value']} {tuple(item['shape'])} -> {item['file']}")


def _read_inputs(texts: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    """Arrays by input name; a bare path has the name ``""``."""
    from cnnbench.errors import SuiteError

    arrays: dict[str, NDArray[Any]] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals:
            name, path = "", text
        if name in arrays:
            raise SuiteError(f"input {name or text!r} is given twice", where="--input", expected="NAME=X.npy for each")
        arrays[name] = _read_array(Path(path))
    return arrays


def _read_array(path: Path) -> NDArray[Any]:
    import numpy as np

    from cnnbench.errors import DataError

    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError("the array file does not exist", where=str(path)) from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"the file is not a plain .npy array: {error}", where=str(path)) from None
    if not isinstance(array, np.ndarray):
        raise DataError("the file is not an array of numbers", where=str(path), received=type(array).__name__)
    return array


def _write(result: Prediction, output: Path) -> list[dict[str, Any]]:
    """Writes the main output and the nodes asked for; returns each value's file, shape and dtype."""
    import numpy as np

    values = [(next(iter(result.outputs)), result.output, output)]
    for name, array in result.nodes.items():
        values.append((name, array, output.with_name(f"{output.stem}.{re.sub(r'[/:]', '_', name)}.npy")))
    output.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for name, array, path in values:
        with path.open("wb") as file:
            np.save(file, array, allow_pickle=False)
        written.append({"value": name, "file": str(path), "shape": list(array.shape), "dtype": str(array.dtype)})
    return written
