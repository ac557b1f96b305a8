"""Loads the listed cases from the installed ``onnx`` package; one that is missing or was changed is an error."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.conformance.onnx.lists import Group, ListedCase, listed
from cnnbench.errors import DataError
from cnnbench.spec.interchange.onnx_file import require_onnx

VERSION = "1.22.0"  # the last release whose wheel carries the cases

Array = NDArray[Any]


@dataclass(frozen=True)
class DataSet:
    """Operands and what must come of them, both in the model's order."""

    inputs: dict[str, Array]
    outputs: list[Array]


@dataclass(frozen=True)
class OnnxCase:
    """A case on disk.

    Args:
        listed: Its line in the list.
        folder: Where it lies.
    """

    listed: ListedCase
    folder: Path

    @property
    def name(self) -> str:
        """Its folder in the package's data: ``node/test_add``."""
        return self.listed.name

    def model(self) -> Any:
        """The ``onnx.ModelProto``."""
        import onnx

        return onnx.load(self.folder / "model.onnx")

    def data_sets(self, model: Any) -> Iterator[DataSet]:
        """Every data set of the case. Raises DataError where there is none."""
        folders = sorted(self.folder.glob("test_data_set_*"))
        if not folders:
            raise DataError("the case has no data", where=self.name)
        for folder in folders:
            inputs = _arrays(folder, "input")
            names = [item.name for item in model.graph.input]
            if len(inputs) > len(names):
                raise DataError("the case has more data than inputs", where=self.name)
            yield DataSet(dict(zip(names, inputs, strict=False)), _arrays(folder, "output"))


def load_cases(groups: Sequence[Group] = ("core",), data: Path | None = None) -> list[OnnxCase]:
    """Every case of the lists; all of them or none.

    Args:
        groups: The lists.
        data: The folder of the cases; that of the installed package where None.

    Raises:
        UnavailableError: The ``onnx`` package is missing.
        DataError: Its version carries no cases, or some are missing or not those that were listed.
    """
    folder = data or _package_data()
    cases = [OnnxCase(item, folder / item.name) for group in groups for item in listed(group)]
    missing = [case.name for case in cases if not (case.folder / "model.onnx").is_file()]
    changed = [
        case.name for case in cases if case.name not in set(missing) and digest(case.folder) != case.listed.digest
    ]
    for problem, names in (("missing", missing), ("changed", changed)):
        if names:
            raise DataError(
                f"{len(names)} of {len(cases)} ONNX cases are {problem}",
                where=str(folder),
                received=", ".join(names[:4]) + (" …" if len(names) > 4 else ""),
                remedy=f"pip install onnx=={VERSION}",
            )
    return cases


def _package_data() -> Path:
    onnx = require_onnx()
    return Path(onnx.__file__).parent / "backend" / "test" / "data"


def digest(folder: Path) -> str:
    """SHA-256 over the names, sizes and bytes of a folder's files, in the order of names."""
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        total.update(f"{file.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


def _arrays(folder: Path, kind: str) -> list[Array]:
    """``input_0.pb``, ``input_1.pb`` ... as arrays."""
    import onnx

    arrays = []
    for position in range(len(list(folder.glob(f"{kind}_*.pb")))):
        tensor = onnx.TensorProto()
        tensor.ParseFromString((folder / f"{kind}_{position}.pb").read_bytes())
        arrays.append(np.asarray(onnx.numpy_helper.to_array(tensor)))
    return arrays
