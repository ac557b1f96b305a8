"""Which networks that exporters write as ONNX are read, and whether they compute what the original does.

    python benchmarks/exporters.py run --output build/exporters          # resumable; minutes to hours
    python benchmarks/exporters.py page --output build/exporters         # the table, in Markdown

Every classification network of torchvision, the smallest network of every module of timm, and keras.applications are
given random weights in general position (no scale is 1, no shift 0) and exported: PyTorch's by both of its exporters
(TorchScript and dynamo), Keras' by ``Model.export``. Each file is written once with a free batch, which is then run
with 1, 2 and 8 images, and once with the batch fixed at 1, 2 and 8. It is read by cnnbench and computed by the NumPy
backend in float64. The truth is the original: PyTorch's module in float64, Keras' model in float32.

It needs torch, torchvision, timm, onnxscript, onnxruntime, tensorflow and tf2onnx; a source whose packages are missing
is left out by name. Processes handle many networks each, with a time limit for each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

BATCHES = ("free", "1", "2", "8")
EXPORTERS = {"torchvision": ("torchscript", "dynamo"), "timm": ("torchscript", "dynamo"), "keras": ("keras",)}
TOLERANCE = {"torchvision": 1e-5, "timm": 1e-5, "keras": 2e-4}  # of the largest output; exporters fold in float32
MANY = 20  # networks of a process, which takes seconds to import a framework
LARGEST = 150e6  # parameters; what is larger is left out, and counted so


@cache
def tolerate_missing_operators() -> None:
    """Lets torchvision be imported without its compiled operators, which no network here uses."""
    import torch

    register = torch.library.register_fake

    def tolerant(name: Any, *args: Any, **keywords: Any) -> Callable[[Any], Any]:
        def keep(function: Any) -> Any:
            try:
                return register(name, *args, **keywords)(function)
            except (RuntimeError, AttributeError):
                return function

        return keep

    torch.library.register_fake = tolerant


def names(source: str) -> list[str]:
    """The networks of a source."""
    if source == "torchvision":
        tolerate_missing_operators()
        import torchvision

        return list(torchvision.models.list_models(module=torchvision.models))
    if source == "keras":
        import inspect

        import keras

        return sorted(n for n, f in vars(keras.applications).items() if inspect.isfunction(f))
    return _smallest_of_timm()


def _smallest_of_timm() -> list[str]:
    tolerate_missing_operators()
    import timm

    chosen = []
    for module in timm.list_modules():
        sizes = {}
        for name in timm.list_models(module=module):
            sizes[name] = num_parameters("timm", name)
        sizes = {name: size for name, size in sizes.items() if size}
        if sizes:
            chosen.append(min(sizes, key=lambda name: sizes[name]))
    return chosen


def torch_module(source: str, name: str) -> Any:
    """The module as its package makes it."""
    tolerate_missing_operators()
    if source == "torchvision":
        import torchvision

        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        return torchvision.models.get_model(name, **options)
    import timm

    return timm.create_model(name)


def num_parameters(source: str, name: str) -> int:
    """Counted without making them, where the module can be built so."""
    import torch

    try:
        with torch.device("meta"):
            return sum(p.numel() for p in torch_module(source, name).parameters())
    except Exception:
        return 0


def torch_model(source: str, name: str) -> tuple[Any, list[int]]:
    """The module with weights in general position, and the image sizes that it takes, the smallest first."""
    import torch

    torch.manual_seed(0)
    model = torch_module(source, name).eval()
    usual = 299 if name == "inception_v3" else getattr(model, "default_cfg", {"input_size": (224,)})["input_size"][-1]
    with torch.no_grad():
        for module in model.modules():
            for key, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                _general_position(module, key, value)
    return model, [size for size in dict.fromkeys((64, usual)) if _takes(model, size)]


def _general_position(module: Any, key: str, value: Any) -> None:
    if not value.is_floating_point():
        return
    if key == "running_var" or (value.ndim <= 1 and key in ("weight", "gamma", "running_var")) or "scale" in key:
        value.uniform_(0.5, 1.5)
    elif key in ("bias", "beta", "running_mean"):
        value.normal_(0.0, 0.1)
    elif not value.any():  # a last layer of zeros would give every image the same output
        value.normal_(0.0, 0.05)


def _takes(model: Any, size: int) -> bool:
    import torch

    try:
        with torch.no_grad():
            found = model(torch.zeros(2, 3, size, size))
        return found.ndim == 2 and bool(torch.isfinite(found).all())
    except Exception:
        return False


def export_torch(model: Any, size: int, exporter: str, batch: str, file: Path) -> None:
    """Writes the module's file; a free batch is traced with two images."""
    import torch

    x = torch.zeros(2 if batch == "free" else int(batch), 3, size, size)
    if exporter == "torchscript":
        free = {"x": {0: "batch"}, "y": {0: "batch"}} if batch == "free" else None
        torch.onnx.export(
            model, (x,), str(file), dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes=free
        )
    else:
        shapes = ({0: torch.export.Dim("batch", min=1, max=1024)},) if batch == "free" else None
        torch.onnx.export(model, (x,), str(file), dynamo=True, dynamic_shapes=shapes, verbose=False)


def one_torch(source: str, name: str, wanted: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """A row for each exporter and batch of a network of PyTorch; of the smallest image that can be exported."""
    parameters = num_parameters(source, name)
    if parameters > LARGEST:
        for exporter, batch in wanted:
            yield _row(exporter, batch, "left out", f"{parameters / 1e6:.0f} million parameters")
        return
    model, sizes = torch_model(source, name)
    for exporter, batch in wanted:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.onnx"
            reason = "it takes no image that was tried"
            for size in sizes:
                try:
                    export_torch(model, size, exporter, batch, file)
                    break
                except Exception as error:
                    reason = _first_line(error)
            else:
                yield _row(exporter, batch, "not exported", reason)
                continue
            yield _judged(file, exporter, batch, _images(size), _truth(model, _images(size)), TOLERANCE[source])


def _truth(model: Any, images: Any) -> Any:
    import torch

    with torch.no_grad():
        found = model.double()(torch.from_numpy(images)).numpy()
    model.float()
    return found


def one_keras(name: str, wanted: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """A row for each batch of a network of keras.applications, with the smallest image that it takes."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    make = getattr(keras.applications, name)
    for size in (64, 75, 128, 224, 331):
        try:
            model = make(weights=None, input_shape=(size, size, 3), classes=1000, classifier_activation=None)
            break
        except ValueError:
            continue
    if model.count_params() > LARGEST:
        for exporter, batch in wanted:
            yield _row(exporter, batch, "left out", f"{model.count_params() / 1e6:.0f} million parameters")
        return
    random = np.random.default_rng(0)
    for layer in model.layers:
        if type(layer).__name__ in ("BatchNormalization", "LayerNormalization"):
            layer.set_weights([random.uniform(0.5, 1.5, w.shape).astype("float32") for w in layer.get_weights()])
            layer.momentum = 0.0
    images = _images(size)
    # Statistics of real activations: with drawn ones, deep networks grow until float32 says nothing about them.
    model(images.transpose(0, 2, 3, 1).astype("float32") + 0.1, training=True)
    truth = np.asarray(model(images.transpose(0, 2, 3, 1).astype("float32"), training=False))
    for exporter, batch in wanted:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.onnx"
            shape = (None if batch == "free" else int(batch), size, size, 3)
            try:
                signature = [keras.InputSpec(shape=shape, dtype="float32")]
                model.export(str(file), format="onnx", input_signature=signature, verbose=False)
            except Exception as error:
                yield _row(exporter, batch, "not exported", _first_line(error))
                continue
            yield _judged(file, exporter, batch, images.transpose(0, 2, 3, 1), truth, TOLERANCE["keras"])


def _images(size: int) -> Any:
    import numpy as np

    return np.random.default_rng(1).uniform(-1, 1, (8, 3, size, size)).astype("float32").astype("float64")


def _judged(file: Path, exporter: str, batch: str, images: Any, truth: Any, tolerance: float) -> dict[str, Any]:
    import numpy as np

    import cnnbench
    from cnnbench.errors import CnnbenchError

    unfit = _unfit(file)
    if unfit:
        return _row(exporter, batch, "not exported", f"ONNX Runtime cannot load the file: {unfit}")
    worst = 0.0
    for count in (1, 2, 8) if batch == "free" else (int(batch),):
        try:
            found = cnnbench.predict(str(file), images[:count], precision="float64").output
        except CnnbenchError as error:
            return _row(exporter, batch, "refused", f"with {count} images: {_first_line(error)}")
        except Exception as error:
            return _row(
                exporter, batch, "traceback", f"with {count} images: {type(error).__name__}: {_first_line(error)}"
            )
        if found.shape != truth[:count].shape:
            return _row(exporter, batch, "unequal", f"shape {found.shape}, not {truth[:count].shape}")
        worst = max(worst, float(np.abs(found - truth[:count]).max() / np.abs(truth[:count]).max()))
    return _row(exporter, batch, "equal" if worst <= tolerance else "unequal", f"{worst:.1e} of the largest output")


def _unfit(file: Path) -> str | None:
    """Why ONNX Runtime refuses the file; exporters write operators that are none of ONNX's."""
    import onnxruntime

    try:
        onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:
        return _first_line(error)
    return None


def _row(exporter: str, batch: str, result: str, reason: str) -> dict[str, Any]:
    return {"exporter": exporter, "batch": batch, "result": result, "reason": reason}


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:400] if lines else type(error).__name__


def child(source: str, exporter: str, batch: str, networks: list[str]) -> None:
    """Handles networks one after the other. A row is a marked line of the standard output, since exporters print."""
    for name in networks:
        try:
            rows = list(
                one_keras(name, [(exporter, batch)])
                if source == "keras"
                else one_torch(source, name, [(exporter, batch)])
            )
        except Exception as error:
            rows = [_row(exporter, batch, "not built", _first_line(error))]
        for row in rows:
            print("ROW " + json.dumps({"source": source, "network": name, **row}), flush=True)


def run(options: argparse.Namespace) -> None:
    """Fills ``rows.jsonl`` with what is missing in it."""
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    file = output / "rows.jsonl"
    rows = [row for row in read(file) if row["result"] not in options.again]
    _write(file, rows)
    done = {(row["source"], row["network"], row["exporter"], row["batch"]) for row in rows}
    for exporter, batch, source in itertools.product(options.exporters, options.batches, options.sources):
        if exporter in EXPORTERS[source]:
            left = [name for name in _listed(output, source) if (source, name, exporter, batch) not in done]
            for row in _rows(source, exporter, batch, left, options.limit):
                _append(file, row)


def _rows(source: str, exporter: str, batch: str, networks: list[str], limit_s: float) -> Iterator[dict[str, Any]]:
    """Each network's row, from processes that handle many; one that crashes or hangs is replaced."""
    left = list(networks)
    while left:
        command = [sys.executable, __file__, "many", source, exporter, batch, *left[:MANY]]
        ends_at = len(left) - len(left[:MANY])
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
            assert process.stdout is not None
            slow = threading.Event()
            timer = _killer(process, slow, limit_s)
            for line in process.stdout:
                if line.startswith("ROW "):
                    timer.cancel()
                    timer = _killer(process, slow, limit_s)
                    left.pop(0)
                    yield json.loads(line[4:])
            timer.cancel()
            process.wait()
            if len(left) > ends_at:
                errors.seek(0)
                said = errors.read().strip().splitlines() or [f"the process ended with {process.returncode}"]
                result = ("too slow", f"over {limit_s:.0f} s") if slow.is_set() else ("not built", said[-1][:400])
                yield {"source": source, "network": left.pop(0), **_row(exporter, batch, *result)}


def _killer(process: subprocess.Popen[str], slow: threading.Event, limit_s: float) -> threading.Timer:
    def kill() -> None:
        slow.set()
        process.kill()

    timer = threading.Timer(limit_s, kill)
    timer.start()
    return timer


def _listed(output: Path, source: str) -> list[str]:
    """The source's networks, listed once by a process of its own and kept."""
    file = output / f"{source}.txt"
    if not file.exists():
        done = subprocess.run([sys.executable, __file__, "names", source], capture_output=True, text=True)
        if done.returncode:
            print(f"{source} is left out: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            return []
        file.write_text("\n".join(line[5:] for line in done.stdout.splitlines() if line.startswith("NAME ")))
    return file.read_text().split()


def read(file: Path) -> list[dict[str, Any]]:
    """The rows that were found so far."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _append(file: Path, row: dict[str, Any]) -> None:
    with file.open("a") as stream:
        stream.write(json.dumps(row) + "\n")
    print(*(row[key] for key in ("source", "network", "exporter", "batch", "result", "reason")), sep="  ", flush=True)


RESULTS = ("equal", "unequal", "refused", "traceback", "too slow", "not exported", "not built", "left out")


def page(output: Path) -> str:
    """The counts, and every file that was not read and equal with its reason, in Markdown."""
    rows = read(output / "rows.jsonl")
    lines = ["| source | exporter | batch in the file | " + " | ".join(RESULTS) + " | read and equal |"]
    lines.append("| --- " * (len(RESULTS) + 4) + "|")
    for source, exporters in EXPORTERS.items():
        for exporter in exporters:
            for batch in BATCHES:
                counts = Counter(
                    r["result"] for r in rows if (r["source"], r["exporter"], r["batch"]) == (source, exporter, batch)
                )
                tried = sum(counts[result] for result in RESULTS[:5])
                if counts:
                    share = f"{100 * counts['equal'] / tried:.1f} %" if tried else "-"
                    cells = [source, exporter, batch, *(str(counts[result] or "") for result in RESULTS), share]
                    lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| network | exporter | batch | result | reason |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        if row["result"] != "equal":
            reason = row["reason"].replace("|", "\\|")
            cells = [f"{row['source']} {row['network']}", row["exporter"], row["batch"], row["result"], reason]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Reads the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--output", type=Path, default=Path("build/exporters"))
    running.add_argument("--sources", nargs="+", default=list(EXPORTERS))
    running.add_argument("--batches", nargs="+", default=list(BATCHES))
    running.add_argument("--exporters", nargs="+", default=["torchscript", "keras", "dynamo"])
    running.add_argument("--limit", type=float, default=600.0, help="seconds for one file")
    running.add_argument("--again", nargs="*", default=[], help="results that are tried once more: refused unequal ...")
    paging = commands.add_parser("page")
    paging.add_argument("--output", type=Path, default=Path("build/exporters"))
    many = commands.add_parser("many")
    many.add_argument("source")
    many.add_argument("exporter")
    many.add_argument("batch")
    many.add_argument("networks", nargs="+")
    listing = commands.add_parser("names")
    listing.add_argument("source")
    options = parser.parse_args()
    if options.command == "run":
        run(options)
    elif options.command == "page":
        print(page(options.output))
    elif options.command == "names":
        for name in names(options.source):
            print(f"NAME {name}")
    else:
        child(options.source, options.exporter, options.batch, options.networks)


if __name__ == "__main__":
    main()
