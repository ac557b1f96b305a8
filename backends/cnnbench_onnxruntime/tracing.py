"""Collects the nodes and initialisers of an ONNX model while a bound program is walked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from cnnbench.spec.graph import Graph
from cnnbench.spec.interchange.to_onnx.writer import ModelWriter

_TRACE: ContextVar[Trace] = ContextVar("trace")


def current() -> Trace:
    """The model that is being written."""
    return _TRACE.get()


@dataclass
class _Writer(ModelWriter):
    """Keeps arrays as they are where their values do not count yet."""

    only_shapes: bool = False

    def stored(self, array: Any) -> Any:
        return array if self.only_shapes else super().stored(array)


class Trace:
    """Collects nodes and arrays.

    Args:
        only_shapes: Whether the model is written only to see that it can be: arrays are not copied.
    """

    def __init__(self, *, only_shapes: bool = False) -> None:
        empty = Graph("op", (), (), ())
        self.model = _Writer(empty, {}, np.dtype(np.float32), only_shapes=only_shapes)
        self._count = 0

    @contextmanager
    def growing(self) -> Iterator[Trace]:
        """Within it, ops write into this model."""
        token = _TRACE.set(self)
        try:
            yield self
        finally:
            _TRACE.reset(token)

    def fresh(self, what: str) -> str:
        """A name that nothing has yet."""
        self._count += 1
        return f"{what}_{self._count}"

    def hold(self, name: str, array: NDArray[Any]) -> None:
        """Adds an array under its name, once."""
        self.model.initializers.setdefault(name, array)

    def emit(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node with one output.

        Args:
            operator: Of the default domain.
            inputs: Names of values.
            attributes: As ONNX calls them.
        """
        name = self.fresh(operator.lower())
        self.model.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name
