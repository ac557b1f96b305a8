"""What cnnbench is told of the NumPy backend before NumPy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnbench.execution.contract import BackendPlugin
from cnnbench.hookspecs import hookimpl
from cnnbench_numpy.offered import DEVICES, LAYOUTS, MODES, PRECISIONS

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend


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
            precisions=PRECISIONS,
            devices=DEVICES,
            layouts=LAYOUTS,
            colour="#4d77cf",
            distribution="numpy",
        )
    ]
