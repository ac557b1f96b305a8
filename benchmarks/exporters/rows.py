"""Writes a network's files, reads them with cnnbench and compares: a row for each file."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from networks import LARGEST, keras_network, num_parameters, torch_network

BATCHES = ("free", "1", "2", "8")
EXPORTERS = {"torchvision": ("torchscript", "dynamo"), "timm": ("torchscript", "dynamo"), "keras": ("keras",)}
TOLERANCE = {"torchvision": 1e-5, "timm": 1e-5, "keras": 2e-4}  # of the largest output; exporters fold in float32
TRIED = ("equal", "unequal", "refused", "traceback", "too slow")
RESULTS = (*TRIED, "not exported", "not built", "left out")


class Row(NamedTuple):
    """What became of a file. Args: batch: in the file, ``free`` or a number. result: of ``RESULTS``."""

    source: str
    network: str
    exporter: str
    batch: str
    result: str
    reason: str


class Truth(NamedTuple):
    """What the original gives for eight images, in the layout of its file."""

    images: Any
    outputs: Any


def rows_of(source: str, name: str, wanted: Sequence[tuple[str, str]]) -> Iterator[Row]:
    """A row for each exporter and batch that is wanted of a network, as soon as it is known."""
    of_source = _of_keras if source == "keras" else _of_torch
    given = 0
    try:
        for result, reason in of_source(source, name, wanted):
            yield Row(source, name, *wanted[given], result, reason)
            given += 1
    except Exception as error:
        for exporter, batch in wanted[given:]:
            yield Row(source, name, exporter, batch, "not built", first_line(error))


def _of_torch(source: str, name: str, wanted: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Of the smallest image that can be exported."""
    parameters = num_parameters(source, name)
    if parameters > LARGEST:
        yield from [_too_large(parameters)] * len(wanted)
        return
    model, sizes = torch_network(source, name)
    truth = cache(lambda size: _truth(model, size))
    for exporter, batch in wanted:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.onnx"
            reason = "it takes no image that was tried"
            for size in sizes:
                try:
                    _export_torch(model, size, exporter, batch, file)
                    break
                except Exception as error:
                    reason = first_line(error)
            else:
                yield "not exported", reason
                continue
            yield _judged(file, batch, truth(size), TOLERANCE[source])


def _export_torch(model: Any, size: int, exporter: str, batch: str, file: Path) -> None:
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


def _truth(model: Any, size: int) -> Truth:
    """In float64."""
    import torch

    images = _images(size)
    with torch.no_grad():
        found = model.double()(torch.from_numpy(images)).numpy()
    model.float()
    return Truth(images, found)


def _of_keras(source: str, name: str, wanted: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Of the smallest image that it takes."""
    import keras
    import numpy as np

    keras.backend.clear_session()
    model, size = keras_network(name)
    if model.count_params() > LARGEST:
        yield from [_too_large(model.count_params())] * len(wanted)
        return
    random = np.random.default_rng(0)
    for layer in model.layers:
        if type(layer).__name__ in ("BatchNormalization", "LayerNormalization"):
            layer.set_weights([random.uniform(0.5, 1.5, w.shape).astype("float32") for w in layer.get_weights()])
            layer.momentum = 0.0
    images = _images(size).transpose(0, 2, 3, 1)
    # Statistics of real activations: with drawn ones, deep networks grow until float32 says nothing about them.
    model(images.astype("float32") + 0.1, training=True)
    truth = Truth(images, np.asarray(model(images.astype("float32"), training=False)))
    for _, batch in wanted:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.onnx"
            shape = (None if batch == "free" else int(batch), size, size, 3)
            try:
                signature = [keras.InputSpec(shape=shape, dtype="float32")]
                model.export(str(file), format="onnx", input_signature=signature, verbose=False)
            except Exception as error:
                yield "not exported", first_line(error)
                continue
            yield _judged(file, batch, truth, TOLERANCE[source])


def _images(size: int) -> Any:
    import numpy as np

    return np.random.default_rng(1).uniform(-1, 1, (8, 3, size, size)).astype("float32").astype("float64")


def _judged(file: Path, batch: str, truth: Truth, tolerance: float) -> tuple[str, str]:
    import numpy as np

    import cnnbench
    from cnnbench.errors import CnnbenchError

    unfit = _unfit(file)
    if unfit:
        return "not exported", f"ONNX Runtime cannot load the file: {unfit}"
    worst = 0.0
    for count in (1, 2, 8) if batch == "free" else (int(batch),):
        exact = truth.outputs[:count]
        try:
            found = cnnbench.predict(str(file), truth.images[:count], precision="float64").output
        except CnnbenchError as error:
            return "refused", f"with {count} images: {first_line(error)}"
        except Exception as error:
            return "traceback", f"with {count} images: {type(error).__name__}: {first_line(error)}"
        if found.shape != exact.shape:
            return "unequal", f"shape {found.shape}, not {exact.shape}"
        worst = max(worst, float(np.abs(found - exact).max() / np.abs(exact).max()))
    return "equal" if worst <= tolerance else "unequal", f"{worst:.1e} of the largest output"


def _unfit(file: Path) -> str | None:
    """Why ONNX Runtime refuses the file; exporters write operators that are none of ONNX's."""
    import onnxruntime

    try:
        onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:
        return first_line(error)
    return None


def _too_large(parameters: int) -> tuple[str, str]:
    return "left out", f"{parameters / 1e6:.0f} million parameters"


def first_line(error: Exception) -> str:
    """An error's text on one line, not too long, without colours and temporary folders."""
    text = re.sub(r"\x1b\[[0-9;]*m|/tmp/\w+/", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines)[:400] if lines else type(error).__name__
