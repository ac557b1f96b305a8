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
    from cnnbench.training.decoders.decoded import Decoded


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
    save: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also draw what was found there: boxes, masks, limbs ...")
    ] = None


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
    from cnnbench.training.decoders.decoded import decode

    x = _read_inputs(files.inputs, files.output)
    check_writable(files.output, "--output")
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
    image = next((array for array in x.values() if array.ndim == 4), None)
    decoded = decode(result.outputs, tuple(image.shape[2:])) if image is not None else []
    if files.save is not None:
        written.append(_draw(image, decoded, result, files.save))
    if shown.json:
        names = ("backend", "mode", "precision")
        head = {"architecture": result.network, **{name: getattr(result, name) for name in names}}
        said = {"decoded": [found.lines() for found in decoded]} if decoded else {}
        print_json({**head, "files": written, **said})
    else:
        for item in written:
            echo(f"{item['value']} {tuple(item['shape'])} -> {item['file']}")
        for number, found in enumerate(decoded):
            for line in found.lines():
                echo(f"image {number}: {line}")


def _draw(image: NDArray[Any] | None, decoded: Sequence[Decoded], result: Prediction, folder: Path) -> dict[str, Any]:
    """Draws what was found in the images; the file, as ``_write`` tells of it."""
    from cnnbench.errors import SuiteError
    from cnnbench.harness.run.files import write_atomically
    from cnnbench.output.pictures import side_by_side

    if image is None or not decoded:
        raise SuiteError(
            "these outputs say nothing that can be drawn",
            where="--save",
            received=", ".join(result.outputs),
            expected="outputs of boxes, masks, keypoints, words, pictures or classes of pixels",
            remedy="leave --save out",
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', result.network)}.{result.backend}.png"
    write_atomically(path, side_by_side(image, {result.backend: decoded}))
    return {"value": "picture", "file": str(path), "shape": list(image.shape), "dtype": "png"}


def _read_inputs(texts: Sequence[str], output: Path) -> Mapping[str, NDArray[Any]]:
    """Arrays by input name; a bare path has the name ``""``. None of them may be the file of the output."""
    from cnnbench.errors import SuiteError

    arrays: dict[str, NDArray[Any]] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals:
            name, path = "", text
        if name in arrays:
            raise SuiteError(f"input {name or text!r} is given twice", where="--input", expected="NAME=X.npy for each")
        arrays[name] = _read_array(Path(path))
        if output.exists() and output.samefile(path):
            raise SuiteError("the output would replace an input", where="--output", received=str(output))
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
