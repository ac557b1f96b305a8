"""Reads a user's Keras model, live or in a ``.keras`` file, as a graph."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cnnbench.errors import SpecError
from cnnbench.spec.interchange.fitting import KerasArrays
from cnnbench.spec.interchange.keras_config import parse_model
from cnnbench.spec.interchange.keras_reading import has_channels_last, read_configuration
from cnnbench.spec.interchange.model_readers import GivenInputs, ModelGradients, ModelRunner, ReadModel, TrainingPass
from cnnbench_tensorflow.keras_files import read_keras


def load(path: Path) -> Path:
    """The file itself, which needs no Keras to be read."""
    return path


def read(model: Any, inputs: GivenInputs) -> ReadModel:
    """The graph of a Keras model, by its configuration.

    Args:
        model: The model, or the path of a ``.keras`` file.
        inputs: What is known of them; of a model that states its sizes nothing is needed.
    """
    found = read_keras(model) if isinstance(model, Path) else _saved(model)
    read_model = read_configuration(found, inputs, "keras")
    last = found.model is not None and has_channels_last(found.model)
    graph = read_model.graph
    return replace(read_model, inputs_last=(last,) * len(graph.inputs), outputs_last=(last,) * len(graph.outputs))


def _saved(model: Any) -> KerasArrays:
    """A live model by the way of a file, so that there is one reader."""
    if not model.weights:
        import keras

        return KerasArrays({}, parse_model(json.loads(model.to_json()), keras.__version__))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        try:
            model.save(path)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise SpecError("Keras cannot save the model", received=reason) from error
        found = read_keras(path)
        return KerasArrays(found, found.model, dict(_shared(model.layers, (), {})))


def _shared(layers: Sequence[Any], path: tuple[str, ...], first: dict[int, str]) -> Iterator[tuple[str, str]]:
    """(name, the name under which its weights are saved) of layers that stand in several models."""
    for layer in layers:
        own = (*path, layer.name)
        if hasattr(layer, "layers"):
            yield from _shared(layer.layers, own, first)
            continue
        name = ".".join(own)
        if first.setdefault(id(layer), name) != name:
            yield name, first[id(layer)]


def digest(model: Any) -> str:
    """A digest of a live model's weights, or of the bytes of a file, which needs no Keras."""
    if isinstance(model, Path):
        with model.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    found = hashlib.sha256()
    for array in model.get_weights():  # without names, which Keras counts up within a process
        found.update(f"{array.dtype}\0{array.shape}\0".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def runner(model: Any, mode: str, policy: str, device: str) -> ModelRunner:
    """As ``ModelCode.runner``.

    Args:
        model: The model, or the path of a ``.keras`` file.
        mode: ``eager``, ``graph`` or ``xla``.
        policy: The name of the precision policy.
        device: ``cpu``, ``cuda``, ``cuda:1``.
    """
    from cnnbench_tensorflow.native import KerasRunner

    return KerasRunner(model, mode, policy, device)


def gradients(model: Any, inputs: Sequence[np.ndarray], cotangents: Sequence[np.ndarray]) -> ModelGradients | None:
    """As ``ModelCode.gradients``.

    Args:
        model: The model, or the path of a ``.keras`` file.
        inputs: In the model's own layout.
        cotangents: In the model's own layout, one for each output.
    """
    from cnnbench_tensorflow import gradients as found

    return found.gradients(model, inputs, cotangents)


def training_pass(model: Any, inputs: Sequence[np.ndarray], seed: int) -> TrainingPass:
    """As ``ModelCode.training_pass``.

    Args:
        model: The model, or the path of a ``.keras`` file.
        inputs: In the model's own layout.
        seed: Of what it draws.
    """
    from cnnbench_tensorflow.training_mode import training_pass as found

    return found(model, inputs, seed)


def weights(model: Any) -> list[np.ndarray]:
    """As ``ModelCode.weights``, running statistics among them."""
    from cnnbench_tensorflow.native import loaded

    return list(loaded(model).get_weights())


def with_weights(model: Any, arrays: Sequence[np.ndarray]) -> Any:
    """As ``ModelCode.with_weights``."""
    from cnnbench_tensorflow import gradients as found

    return found.with_weights(model, arrays)
