"""What cnnbench knows of this backend before TensorFlow is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbench.execution.contract import BackendPlugin
from cnnbench.hookspecs import hookimpl

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend

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
