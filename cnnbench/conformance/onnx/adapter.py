"""Any cnnbench backend behind ONNX's own interface, so that ONNX's own runner can drive it.

What is not implemented raises ``unittest.SkipTest``, which the runner counts as skipped. (It takes its own
``BackendIsNotSupposedToImplementIt`` for a pass.)
"""

from __future__ import annotations

import unittest
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from onnx.backend.base import Backend as OnnxBackend
from onnx.backend.base import BackendRep

from cnnbench.conformance.onnx.runner import run_network
from cnnbench.errors import CnnbenchError, SpecError, UnavailableError
from cnnbench.execution.backends import backend_plugin, load_backend
from cnnbench.execution.contract import Backend, ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec.interchange.onnx_file import OnnxFile, prepare
from cnnbench.spec.interchange.onnx_import import import_model


class Prepared(BackendRep):  # type: ignore[misc]
    """A model that is imported when its data is there: weights and shapes may be among its inputs.

    Args:
        backend: Loaded and configured.
        options: How programs run.
        file: The model.
    """

    def __init__(self, backend: Backend, options: ProgramOptions, file: OnnxFile) -> None:
        self.backend = backend
        self.options = options
        self.file = file

    def run(self, inputs: Any, **kwargs: Any) -> tuple[NDArray[Any], ...]:
        """The outputs of one pass.

        Args:
            inputs: Arrays by name, or in the order of the model's inputs.
            kwargs: Ignored.
        """
        given = self._named(inputs)
        with _skipping():
            return tuple(run_network(self.backend, self.options, import_model(self.file, given), given))

    def _named(self, inputs: Any) -> dict[str, NDArray[Any]]:
        if isinstance(inputs, Mapping):
            return {name: np.asarray(array) for name, array in inputs.items()}
        listed: Sequence[Any] = inputs if isinstance(inputs, list | tuple) else [inputs]
        fixed = {item.name for item in self.file.model.graph.initializer}
        names = [item.name for item in self.file.model.graph.input]
        free = names if len(listed) == len(names) else [name for name in names if name not in fixed]
        return {name: np.asarray(array) for name, array in zip(free, listed, strict=False)}


class _Adapter(OnnxBackend):  # type: ignore[misc]
    """What the classes that ``onnx_backend`` makes have in common."""

    name: ClassVar[str] = ""
    mode: ClassVar[str] = ""

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> Prepared:
        """The model, ready to run on the processor. Raises SkipTest for what is not imported."""
        if not cls.supports_device(device):
            raise unittest.SkipTest(f"no device {device!r}")
        with _skipping():
            file = prepare(model)
        return Prepared(_loaded(cls.name), ProgramOptions(cls.mode, precision("float32")), file)

    @classmethod
    def run_model(cls, model: Any, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
        """The outputs of one pass of a model."""
        return cls.prepare(model, device).run(inputs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether it is the processor."""
        return device.upper().partition(":")[0] == "CPU"


def onnx_backend(name: str, mode: str | None = None) -> type[OnnxBackend]:
    """A class with ONNX's interface over a cnnbench backend.

    Args:
        name: The backend.
        mode: One of its modes; its default where None.

    Raises:
        UnavailableError: No such backend or mode, or its framework is missing.
    """
    plugin = backend_plugin(name)
    reason = plugin.unavailable()
    if reason is not None:
        raise UnavailableError(reason, where=name)
    chosen = mode or plugin.modes[0]
    if chosen not in plugin.modes:
        raise UnavailableError(f"{name} has no mode {chosen!r}", expected=", ".join(plugin.modes))
    return type(f"Cnnbench{name.title()}", (_Adapter,), {"name": name, "mode": chosen})


@cache
def _loaded(name: str) -> Backend:
    backend = load_backend(name)
    backend.configure(ProcessSettings())
    return backend


class _skipping:  # noqa: N801 - a context manager, named as one
    """Turns what is not imported or not available into a skipped test."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, SpecError | UnavailableError):
            raise unittest.SkipTest(str(error)) from error
        if isinstance(error, CnnbenchError):
            raise error
