"""What cnnbench is told of this backend before anything is imported."""

from __future__ import annotations

from cnnbench.execution.contract import BackendPlugin
from cnnbench.hookspecs import hookimpl

MODES = ("plain",)
PRECISIONS = ("float32", "float64")


def _load():
    from cnnbench_indexed.backend import IndexedBackend

    return IndexedBackend()


PLUGIN = BackendPlugin(
    name="indexed",
    requires=("numpy", "scipy"),
    load=_load,
    modes=MODES,
    precisions=dict.fromkeys(MODES, PRECISIONS),
    devices=("cpu",),
    layouts=("auto", "channels_first"),
    colour="#7a5195",
    distribution="cnnbench-indexed",
)


@hookimpl
def cnnbench_backends():
    """The one backend."""
    return [PLUGIN]
