"""What cnnbench is told of this backend before anything is imported."""

from __future__ import annotations

from cnnbench.execution.contract import BackendPlugin
from cnnbench.hookspecs import hookimpl
from cnnbench_indexed.offered import LAYOUTS, MODES, PRECISIONS


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
    layouts=LAYOUTS,
    colour="#7a5195",
    distribution="cnnbench-indexed",
)


@hookimpl
def cnnbench_backends():
    """The one backend."""
    return [PLUGIN]
