"""Reads a user's Keras model, live or in a ``.keras`` file, as a graph; and runs it as it is."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cnnbench.errors import SpecError
from cnnbench.spec.interchange.fitting import KerasArrays
from cnnbench.spec.interchange.keras_config import parse_model
from cnnbench.spec.interchange.keras_reading import has_channels_last, read_configuration
from cnnbench.spec.interchange.model_readers import GivenInputs, ReadModel
from cnnbench_tensorflow.keras_files import read_keras


def read(model: Any, inputs: GivenInputs) -> ReadModel:
    """The graph of a Keras model, by its configuration.

    Args:
        model: The model, or the path of a ``.keras`` file.
        inputs: What is known of them; of a model that states its sizes nothing is needed.
    """
    found = read_keras(model) if isinstance(model, Path) else _saved(model)
    return read_configuration(found, inputs, "keras")


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
        return read_keras(path)


def run(model: Any, batch: Mapping[str, np.ndarray], mode: str, read_model: ReadModel) -> dict[str, np.ndarray]:
    """What the user's model gives in float64.

    Args:
        model: The model, or the path of its file.
        batch: Its inputs by the graph's names, with channels first.
        mode: ``eager``, or ``jit`` for XLA.
        read_model: What was read of it.
    """
    import keras

    keras.config.set_floatx("float64")
    live = keras.models.load_model(model, compile=False) if isinstance(model, Path) else model
    copy = _in_float64(live)
    found = read_keras(model).model if isinstance(model, Path) else _saved(live).model
    last = found is not None and has_channels_last(found)
    operands = [_moved(np.asarray(batch[item.name]), 1, -1, moves=last) for item in read_model.graph.inputs]
    made = copy(operands if len(operands) > 1 else operands[0], training=False)
    outputs = made if isinstance(made, list | tuple) else list(made.values()) if isinstance(made, dict) else [made]
    names = [name for name, _ in read_model.graph.outputs]
    arrays = [_moved(np.asarray(item), -1, 1, moves=last) for item in outputs]
    return dict(zip(names, arrays, strict=True))


def _in_float64(model: Any) -> Any:
    """The same model with its layers' policy, and its weights, in float64."""
    import keras

    text = json.loads(model.to_json())
    copy = keras.models.model_from_json(json.dumps(_policies(text)))
    copy.set_weights([np.asarray(item, np.float64) for item in model.get_weights()])
    return copy


def _policies(content: Any) -> Any:
    if isinstance(content, dict):
        return {
            key: "float64" if key == "dtype" and _is_policy(item) else _policies(item) for key, item in content.items()
        }
    return [_policies(item) for item in content] if isinstance(content, list) else content


def _is_policy(item: Any) -> bool:
    return item == "float32" or (isinstance(item, dict) and item.get("class_name") == "DTypePolicy")


def _moved(array: np.ndarray, source: int, target: int, *, moves: bool) -> np.ndarray:
    return np.moveaxis(array, source, target) if moves and array.ndim > 2 else array
