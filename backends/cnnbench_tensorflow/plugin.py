"""What cnnbench knows of this backend before TensorFlow is imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnnbench.execution.contract import BackendPlugin
from cnnbench.hookspecs import hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from cnnbench.execution.contract import Backend
    from cnnbench.spec.interchange.weight_files import WeightReader

PRECISIONS = ("float32", "float64", "bfloat16")


def load() -> Backend:
    """Imports TensorFlow and returns the backend."""
    from cnnbench_tensorflow.backend import TensorFlowBackend

    return TensorFlowBackend()


PLUGIN = BackendPlugin(
    name="tensorflow",
    requires=("tensorflow",),
    load=load,
    modes=("graph", "xla"),
    precisions={"graph": PRECISIONS, "xla": PRECISIONS},
    devices=("cpu", "cuda"),
    layouts=("auto", "channels_last"),
    colour="#f9a825",
    distribution="tensorflow",
)


@hookimpl
def cnnbench_backends() -> list[BackendPlugin]:
    """The one backend of this plugin."""
    return [PLUGIN]


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
    from cnnbench.spec.interchange.weight_files import WeightReader

    return (WeightReader("Keras", (".h5", ".keras"), _read),)
