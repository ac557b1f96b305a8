"""What cnnbench is told of the NumPy backend before NumPy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnbench.execution.contract import BackendPlugin
from cnnbench.hookspecs import hookimpl

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend

MODES = ("fast", "reference")
PRECISIONS = ("float32", "float64")
DEVICES = ("cpu",)


def _load() -> Backend:
    from cnnbench_numpy.backend import NumpyBackend

    return NumpyBackend()


@hookimpl
def cnnbench_backends() -> Sequence[BackendPlugin]:
    """The NumPy backend: the independent reference, and a fast mode on BLAS."""
    return [
        BackendPlugin(
            name="numpy",
            requires=("numpy",),
            load=_load,
            modes=MODES,
            precisions=dict.fromkeys(MODES, PRECISIONS),
            devices=DEVICES,
            layouts=("auto", "channels_first", "channels_last"),
            colour="#4d77cf",
            distribution="numpy",
        )
    ]
