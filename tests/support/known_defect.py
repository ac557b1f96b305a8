"""What a silent defect of a framework is: a plain call, a layer on which it shows, the check that finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np

from cnnbench.conformance import LayerCase
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.operations import Operation, Operations
from cnnbench.spec.layers import BatchNorm
from cnnbench.spec.layers.indexing import GatherIndices


@dataclass(frozen=True)
class Defect:
    """One defect.

    Args:
        name: Of its test and its reproducer.
        backend, mode, precision: Where it shows. framework, seen: the distribution and the version it was measured in.
        call: The plain op, ``module.function`` of this folder; ``layout`` its weight layout there.
        case: The layer and data on which it shows. check: the check that finds it.
        what: In words. size: of the error, as measured. workaround: what a user does, and what our backend does.
        slow: Whether a compiler is waited for.
    """

    name: str
    backend: str
    mode: str
    call: str
    case: LayerCase
    check: str
    what: str
    size: str
    workaround: str
    precision: str = "float32"
    framework: str = ""
    seen: str = ""
    layout: str = ""
    slow: bool = False

    @property
    def options(self) -> ProgramOptions:
        """Of the program."""
        from cnnbench.execution.precision import precision

        return ProgramOptions(self.mode, precision(self.precision))

    @property
    def installed(self) -> str:
        """The version that is here."""
        return version(self.framework)

    def plain(self, backend: Backend) -> Operations:
        """The backend's table with the plain call in place of its own op."""
        module_name, _, function = self.call.partition(".")
        module = import_module(module_name)
        kind = self.case.layer.kind
        own = backend.operations
        layout = getattr(module, self.layout) if self.layout else None
        if kind in own:
            layout = layout or own[kind].weight_layout
        arguments = (getattr(module, function), None, *([layout] if layout else []))
        return own.replace(kind, Operation(*arguments))


def near(value: float, spread: float) -> Callable[[Any, tuple[int, ...]], Any]:
    """Draws uniformly from ``value`` +- ``spread``."""
    return lambda generator, shape: generator.uniform(value - spread, value + spread, shape)


def zeros(generator: Any, shape: tuple[int, ...]) -> Any:
    """Draws nothing but zeros."""
    return np.zeros(shape)


def with_nans(generator: Any, shape: tuple[int, ...]) -> Any:
    """Draws a fifth of the values as NaN."""
    return np.where(generator.random(shape) < 0.2, np.nan, generator.normal(size=shape))


def _of_two_rows(generator: Any, shape: tuple[int, ...]) -> Any:
    return generator.integers(0, 2, shape)


# Two of three rows, read 700 times; data of a mean that is large against its deviation.
ROWS = LayerCase(GatherIndices(), ((3, 4), (700,)), draws=(None, _of_two_rows), batched=(False, True), positive=True)
FAR = LayerCase(BatchNorm(), ((4, 8, 10),), shift=300.0)
