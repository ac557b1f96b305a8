"""Runs a user's own ONNX file as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from cnnbench.errors import UnavailableError
from cnnbench.execution.own_program import OwnProgram
from cnnbench_onnxruntime.offered import PROVIDER

TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}


class FileRunner:
    """An ONNX file in an inference session of its own.

    Args:
        own: What names the file.
        options: The ``onnxruntime.SessionOptions``.

    Raises:
        UnavailableError: ONNX Runtime refuses the file, or an input has another type than float32 and integers.
    """

    def __init__(self, own: OwnProgram, options: Any) -> None:
        try:
            self._session = onnxruntime.InferenceSession(own.place, options, providers=[PROVIDER])
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise UnavailableError("ONNX Runtime refuses the file", where=own.place, received=reason) from error
        self._inputs = [(item.name, item.type) for item in self._session.get_inputs()]
        for name, type_ in self._inputs:
            if type_ not in TYPES:
                raise UnavailableError(
                    f"the input {name!r} is of another type", where=own.place, received=type_, expected=", ".join(TYPES)
                )

    def place(self, array: NDArray[Any]) -> NDArray[Any]:
        """As ``ModelRunner.place``; ``run`` gives each input the type that the file has."""
        return np.array(array, np.int64 if array.dtype.kind == "i" else np.float32, order="C")

    def run(self, operands: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """As ``ModelRunner.run``."""
        fed = {
            name: array.astype(TYPES[type_], copy=False)
            for (name, type_), array in zip(self._inputs, operands, strict=True)
        }
        found: list[NDArray[Any]] = self._session.run(None, fed)
        return found

    def read(self, results: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """As ``ModelRunner.read``."""
        return [np.array(item, np.int64 if item.dtype.kind in "iub" else np.float32) for item in results]


def file_digest(place: str) -> str:
    """SHA-256 of a file."""
    with Path(place).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
