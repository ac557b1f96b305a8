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
from cnnbench.execution.gaps import Gap
from cnnbench.execution.operations import Operation, Operations
from cnnbench.numerics.case import Case
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import BatchNorm, Layer
from cnnbench.spec.layers.indexing import GatherIndices
from cnnbench.spec.weights import general_position


@dataclass(frozen=True)
class ChainCase:
    """A layer and what follows it, named ``layer``: what is wrong only where a compiler makes one kernel of them.

    Args:
        layer: That the plain call replaces.
        before: What it reads; None for the input.
        after: What reads it; None where it is the last itself.
        image: The input.
    """

    layer: Layer
    before: Layer | None = None
    after: Layer | None = None
    image: tuple[int, ...] = (3, 32, 32)

    def case(self, options: ProgramOptions) -> Case:
        """Two images, and weights from a seed."""
        builder = Builder("chain")
        x = builder.input("image", self.image)
        layers = [layer for layer in (self.before, self.layer, self.after) if layer is not None]
        for i, layer in enumerate(layers):
            x = builder.add("layer" if i == len(layers) - 1 else f"before{i}", layer, x)
        graph = builder.build(x)
        image = np.random.default_rng(0).normal(size=(2, *self.image)).astype(np.float32)
        return Case(graph, general_position(graph, 0), {"image": image}, options)


class Undeclared(Operations):
    """Ops without what their backend declares of special values."""

    @property
    def gaps(self) -> tuple[Gap, ...]:
        return tuple(gap for gap in super().gaps if not gap.special_values)

    def replace(self, kind: str, operation: Operation) -> Operations:
        return Undeclared(self.backend, super().replace(kind, operation))


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
        declared: Whether our own op has it too, and the backend declares it.
        kernels: With which it shows, and which not every processor gets: ``oneDNN``, ``AVX-512``,
            ``AVX-512 in bfloat16``, ``less than AVX512-FP16``; "" with any.
    """

    name: str
    backend: str
    mode: str
    call: str
    case: LayerCase | ChainCase
    check: str
    what: str
    size: str
    workaround: str
    precision: str = "float32"
    framework: str = ""
    seen: str = ""
    layout: str = ""
    slow: bool = False
    declared: bool = False
    kernels: str = ""

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
        """The backend's table with the plain call in place of its own op, without what it declares."""
        module_name, _, function = self.call.partition(".")
        module = import_module(module_name)
        kind = self.case.layer.kind
        own = Undeclared(backend.operations.backend, backend.operations)
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


def signed_zeros(generator: Any, shape: tuple[int, ...]) -> Any:
    """Draws zeros of both signs."""
    return np.where(generator.random(shape) < 0.5, -0.0, 0.0)


def minus_infinity(generator: Any, shape: tuple[int, ...]) -> Any:
    """Draws nothing but -inf."""
    return np.full(shape, -np.inf)


def with_nans(generator: Any, shape: tuple[int, ...]) -> Any:
    """Draws a fifth of the values as NaN."""
    return np.where(generator.random(shape) < 0.2, np.nan, generator.normal(size=shape))


def _of_two_rows(generator: Any, shape: tuple[int, ...]) -> Any:
    return generator.integers(0, 2, shape)


# Two of three rows, read 700 times; data of a mean that is large against its deviation.
ROWS = LayerCase(GatherIndices(), ((3, 4), (700,)), draws=(None, _of_two_rows), batched=(False, True), positive=True)
FAR = LayerCase(BatchNorm(), ((4, 8, 10),), shift=300.0)
