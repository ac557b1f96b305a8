"""``cnnbench predict``: a forward pass in this process, from files to files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbench.cli import options as o
from cnnbench.cli.asked import asked_arrays, network_name
from cnnbench.cli.terminal import print_json, stdout_reserved
from cnnbench.errors import DataError, SuiteError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnbench.spec.graph import Graph

    Arrays = dict[str, NDArray[Any]]

_NODE = "node "  # output names of the nodes asked for; no graph's own output holds a space


def predict(
    architecture: o.Network,
    backend: o.Backend,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="Y.npy", help="Where the main output goes.")],
    inputs: Annotated[
        list[str], typer.Option("--input", metavar="[NAME=]X.npy", help="Canonical layout (N, C, H, W); repeatable.")
    ],
    weights: Annotated[
        Path | None, typer.Option(metavar="F.safetensors", help="Canonical weights and running statistics.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the initial weights where no file is given.")] = 0,
    node: Annotated[
        list[str], typer.Option(metavar="NAME", help="Also write this node's output to Y.NAME.npy (repeatable).")
    ] = [],  # noqa: B006 - typer copies it
    precision: o.Precision = "float32",
    mode: o.Mode = None,
    layout: Annotated[str, typer.Option(help="auto, channels_first or channels_last.")] = "auto",
    fold_batch_norm: Annotated[
        bool, typer.Option("--fold-batch-norm", help="Fold batch norms into the convolutions before them.")
    ] = False,
    num_classes: o.Classes = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1.")] = "cpu",
    threads: o.Threads = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """Run a network forward on arrays from files."""
    from cnnbench.execution.backends import backend_plugin
    from cnnbench.execution.contract import ProcessSettings, ProgramOptions
    from cnnbench.execution.precision import precision as find_precision
    from cnnbench.harness.suite.networks import network

    batch = _read_inputs(inputs)
    image = _image(batch)
    graph = network(network_name(architecture), image, num_classes)
    batch = _named(batch, graph)
    arrays = asked_arrays(architecture, graph, weights, seed, image)
    plugin = backend_plugin(backend)
    _one_of("--mode", mode, plugin.modes)
    _one_of("--layout", layout, ("auto", *plugin.layouts))
    chosen = mode or plugin.modes[0]
    options = ProgramOptions(
        mode=chosen,
        precision=find_precision(precision or "float32"),
        layout=layout,  # type: ignore[arg-type]
        fold_batch_norm=fold_batch_norm,
    )
    _one_of(f"--precision in mode {chosen}", options.precision.name, plugin.precisions[chosen])
    graph = _with_nodes(graph, node)
    with stdout_reserved():
        results = _run(backend, graph, ProcessSettings(threads, device), options, arrays, batch)
    files = _write(results, graph, output)
    if json:
        print_json(
            {
                "architecture": graph.name,
                "backend": backend,
                "mode": chosen,
                "precision": options.precision.name,
                "files": [{"value": name, **facts} for name, facts in files.items()],
            }
        )
    else:
        for name, facts in files.items():
            typer.echo(f"{name} {tuple(facts['shape'])} -> {facts['file']}")


def _read_inputs(texts: Sequence[str]) -> Arrays:
    """Arrays by input name; a bare path has the name ``""``."""
    arrays: Arrays = {}
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

    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError("the array file does not exist", where=str(path)) from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"the file is not a plain .npy array: {error}", where=str(path)) from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or array.ndim == 0:
        raise DataError("the file is not an array of numbers", where=str(path), received=type(array).__name__)
    return array


def _image(batch: Arrays) -> tuple[int, ...]:
    """The image shape of the given array where there is one; () for the network's own."""
    only = next(iter(batch.values())) if len(batch) == 1 else None
    return tuple(only.shape[1:]) if only is not None and only.ndim > 2 else ()


def _named(batch: Arrays, graph: Graph) -> Arrays:
    """The arrays by the graph's input names, their shapes checked."""
    names = [item.name for item in graph.inputs]
    if list(batch) == [""] and len(names) == 1:
        batch = {names[0]: batch[""]}
    if set(batch) != set(names):
        raise SuiteError(
            "the inputs do not fit the network", where="--input", received=sorted(batch), expected=sorted(names)
        )
    for item in graph.inputs:
        array = batch[item.name]
        expected = item.full_shape(len(array))
        if array.shape != expected:
            raise DataError(
                f"input {item.name!r} has the wrong shape", where="--input", received=array.shape, expected=expected
            )
    return batch


def _one_of(option: str, value: str | None, known: Sequence[str]) -> None:
    from cnnbench.errors import UnavailableError, did_you_mean

    if value is not None and value not in known:
        raise UnavailableError(f"the backend has no {value!r}", where=option, remedy=did_you_mean(value, known))


def _with_nodes(graph: Graph, nodes: Sequence[str]) -> Graph:
    """The graph with the outputs of some nodes (``name`` or ``name:1``) as further outputs."""
    for name in nodes:
        graph.node(name.partition(":")[0])
    extra = tuple((f"{_NODE}{name}", name) for name in dict.fromkeys(nodes))
    return replace(graph, outputs=(*graph.outputs, *extra))


def _run(
    backend: str, graph: Graph, settings: Any, options: Any, arrays: Mapping[str, NDArray[Any]], batch: Arrays
) -> Arrays:
    from cnnbench.execution.backends import load_backend
    from cnnbench.spec.weights import split_state

    loaded = load_backend(backend)
    loaded.configure(settings)
    program = loaded.compile_forward(graph, options)
    program.load(*split_state(graph, arrays))
    return dict(program.download(program.run(program.upload(batch))).outputs)


def _write(results: Mapping[str, NDArray[Any]], graph: Graph, output: Path) -> dict[str, dict[str, Any]]:
    """Writes the main output and the nodes asked for; returns each value's file and shape."""
    import numpy as np

    main = graph.outputs[0][0]
    targets = {main: output}
    for name in results:
        if name.startswith(_NODE):
            value = name.removeprefix(_NODE)
            targets[name] = output.with_name(f"{output.stem}.{value.replace(':', '_')}.npy")
    files = {}
    output.parent.mkdir(parents=True, exist_ok=True)
    for name, path in targets.items():
        with path.open("wb") as file:
            np.save(file, results[name], allow_pickle=False)
        shown = name.removeprefix(_NODE)
        files[shown] = {"file": str(path), "shape": list(results[name].shape), "dtype": str(results[name].dtype)}
    return files
