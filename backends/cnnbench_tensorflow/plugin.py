"""What cnnbench knows of this backend before TensorFlow is imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnnbench.execution.contract import BackendPlugin
from cnnbench.hookspecs import hookimpl
from cnnbench_tensorflow.offered import DEVICES, LAYOUTS, MODES, NATIVE_MODES, PRECISIONS

if TYPE_CHECKING:
    from pathlib import Path

    from cnnbench.execution.contract import Backend
    from cnnbench.spec.interchange.model_readers import ModelCode, ModelReader
    from cnnbench.spec.interchange.weight_readers import WeightReader


def _load() -> Backend:
    from cnnbench_tensorflow.backend import TensorFlowBackend

    return TensorFlowBackend()


@hookimpl
def cnnbench_backends() -> Sequence[BackendPlugin]:
    """TensorFlow, by its executor and compiled by XLA."""
    return [
        BackendPlugin(
            name="tensorflow",
            requires=("tensorflow",),
            load=_load,
            modes=MODES,
            precisions=dict.fromkeys((*MODES, *NATIVE_MODES), PRECISIONS),
            devices=DEVICES,
            layouts=LAYOUTS,
            colour="#f9a825",
            distribution="tensorflow",
            native_modes=NATIVE_MODES,
        )
    ]


def _read(path: Path) -> dict[str, Any]:
    from importlib.util import find_spec

    if find_spec("h5py") is None:
        from cnnbench.errors import UnavailableError

        raise UnavailableError(
            "Keras' files are read by h5py, which is not installed",
            where=str(path),
            remedy="pip install h5py, which 'cnnbench[tensorflow]' brings, too",
        )
    from cnnbench_tensorflow.keras_files import read_keras

    return read_keras(path)


@hookimpl
def cnnbench_weight_readers() -> Sequence[WeightReader]:
    """Keras' files, which need neither Keras nor TensorFlow to be read."""
    from cnnbench.spec.interchange.weight_readers import WeightReader

    return (WeightReader("Keras", (".h5", ".keras"), _read),)


def _is_model(model: Any) -> bool:
    keras = sys.modules.get("keras")  # without Keras nothing can be a model of it
    return keras is not None and isinstance(model, keras.Model)


def _code() -> ModelCode:
    from cnnbench_tensorflow import models

    return models


@hookimpl
def cnnbench_model_readers() -> Sequence[ModelReader]:
    """A ``keras.Model`` and the files ``.keras``, which need neither Keras nor TensorFlow to be read."""
    from cnnbench.spec.interchange.model_readers import ModelReader

    return (ModelReader("Keras", "tensorflow", (".keras",), _is_model, _code),)
