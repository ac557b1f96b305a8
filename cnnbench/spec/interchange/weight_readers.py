"""Readers of weight files, chosen by a file's ending; that of safetensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cnnbench.errors import DataError, SpecError, did_you_mean
from cnnbench.spec.interchange.sharded_weights import INDEX, read_sharded
from cnnbench.spec.weights import load

if TYPE_CHECKING:
    from cnnbench.spec.weights import Array


@dataclass(frozen=True)
class WeightReader:
    """A file format of weights.

    Args:
        name: The format, for messages and ``doctor``.
        suffixes: The endings of files that it reads, in lower case and with their dot; the longest that fits counts.
        read: (path) -> arrays by name in the file's order, in canonical layouts (convolution OIHW, linear [out, in]).
            Raises DataError where the file is not valid, UnavailableError where a package that it needs is missing.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Path], dict[str, Array]]


def _read_safetensors(path: Path) -> dict[str, Array]:
    return read_sharded(path, load) if path.name.lower().endswith(INDEX) else load(path)


SAFETENSORS = WeightReader("safetensors", (".safetensors", f".safetensors{INDEX}"), _read_safetensors)


def reader_for(path: Path, readers: Mapping[str, WeightReader]) -> WeightReader:
    """The reader of the longest ending that the file's name has; a name without any is one of safetensors.

    Args:
        path: The file, which is not opened.
        readers: By ending.

    Raises:
        DataError: None reads files of that name.
    """
    if path.is_dir():
        raise _folder(path)
    found = _reader(path.name if path.suffix else f"{path.name}.safetensors", readers)
    if found is None:
        raise DataError(
            f"files of weights cannot end with {path.suffix.lower()!r}",
            where=str(path),
            expected=", ".join(sorted(readers)),
            remedy=did_you_mean(path.suffix.lower(), readers),
        )
    return found


def _folder(path: Path) -> DataError:
    """What to do about a folder, which several programs save models as."""
    indexes = sorted(item.name for item in path.glob("*.index.json"))
    if (path / "saved_model.pb").is_file():
        received, remedy = (
            "a SavedModel of TensorFlow",
            "with Keras 2: tf.keras.models.load_model(FOLDER).save('model.h5')",
        )
    elif indexes:
        received, remedy = f"a folder with {indexes[0]}", f"import {path / indexes[0]}"
    else:
        received, remedy = "a folder", "name one of its files"
    return DataError("weights are read from a file", where=str(path), received=received, remedy=remedy)


def not_a_network(name: str, readers: Mapping[str, WeightReader]) -> SpecError | None:
    """What is wrong with the name of a file where a network's is expected; None for what names no file.

    Args:
        name: As it was given.
        readers: By ending.
    """
    reader = _reader(name, readers)
    if reader is not None:
        return SpecError(
            "a file of weights is no network: it does not say what is computed with them",
            received=f"{name} ({reader.name})",
            expected="a registered name, or a network in YAML or ONNX",
            remedy=f"cnnbench weights import NETWORK {name} -o weights.safetensors, and --weights weights.safetensors "
            f"for that network; cnnbench weights inspect {name} lists what the file holds",
        )
    if (Path(name) / "saved_model.pb").is_file():
        return SpecError(
            "a SavedModel of TensorFlow is not read: it holds traced functions, not the layers of the model",
            received=name,
            expected="the Keras model that it was exported from, or an ONNX file",
            remedy="model.save('model.keras') where it was made, or name the function that makes it: file.py:function; "
            f"else python -m tf2onnx.convert --saved-model {name} --output model.onnx",
        )
    if Path(name).suffix and Path(name).is_file():
        return SpecError(
            "networks are not read from such files",
            received=name,
            expected="a registered name, or a file .yaml, .yml or .onnx",
            remedy="export the model to ONNX",
        )
    return None


def _reader(name: str, readers: Mapping[str, WeightReader]) -> WeightReader | None:
    endings = [suffix for suffix in readers if name.lower().endswith(suffix)]
    return readers[max(endings, key=len)] if endings else None
